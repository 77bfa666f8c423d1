"""Equal weight: the default fallback of the champion, and the default benchmark."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.strategies.registry import BASELINES, fully_invested
from crossattn_core.portfolio.tradability import readable

__all__ = ["equal_weight"]


@BASELINES.register("equal_weight")
def equal_weight(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """The same share of each readable asset, restored at every decision; unlevered."""
    return fully_invested(readable(past_panel, rows_D, experiment).astype(np.float64), experiment)
