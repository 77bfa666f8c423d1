"""The baseline strategies by name. A baseline is a function in a file of this package, or of a plugin.

Axes: D decisions, N assets.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.registry import Registry

__all__ = ["BASELINES", "Baseline", "fully_invested", "is_baseline"]

Baseline = Callable[[Panel, NDArray[np.int64], Experiment], NDArray[np.float64]]
"""(past_panel, rows_D, experiment) -> (D, N) target weights, NaN leaves a position alone; decision d reads nothing after row
``rows_D[d]``."""

BASELINES = Registry[Baseline]("baseline strategy", "crossattn_core.portfolio.strategies")


def is_baseline(strategy: str) -> bool:
    """Whether ``strategy`` needs no model: what is not a baseline is a model family."""
    return strategy in BASELINES.names()


def fully_invested(share_DN: NDArray[np.float64], experiment: Experiment) -> NDArray[np.float64]:
    """Shares scaled to a gross exposure of 1, or of ``portfolio.gross`` where that is less; a row of zeros stays zero."""
    total_D1 = share_DN.sum(axis=1, keepdims=True)
    invested = min(1.0, experiment.portfolio.gross)
    return np.divide(share_DN * invested, total_D1, out=np.zeros_like(share_DN), where=total_D1 > 0)
