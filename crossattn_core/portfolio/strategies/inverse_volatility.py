"""Inverse volatility: every asset carries about the same risk."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.risk import hourly_variance
from crossattn_core.portfolio.strategies.registry import BASELINES, fully_invested
from crossattn_core.portfolio.tradability import readable

__all__ = ["inverse_volatility"]


@BASELINES.register("inverse_volatility")
def inverse_volatility(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Shares in proportion to 1 / trailing volatility; unlevered."""
    variance_DN = hourly_variance(past_panel.mark_price_TN, rows_D, experiment.baselines.volatility_hours)
    usable_DN = readable(past_panel, rows_D, experiment) & np.isfinite(variance_DN)
    share_DN = np.zeros(variance_DN.shape)
    share_DN[usable_DN] = variance_DN[usable_DN] ** -0.5
    return fully_invested(share_DN, experiment)
