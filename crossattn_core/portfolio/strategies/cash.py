"""Cash: the strategy that every other one has to beat."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.strategies.registry import BASELINES

__all__ = ["cash"]


@BASELINES.register("cash")
def cash(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Nothing, ever."""
    return np.zeros((len(rows_D), len(past_panel.asset_ids)))
