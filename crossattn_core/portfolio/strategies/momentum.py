"""Cross-sectional momentum: long past winners, short past losers."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.limits import project_free
from crossattn_core.portfolio.positions import Positions
from crossattn_core.portfolio.strategies.registry import BASELINES
from crossattn_core.portfolio.tradability import open_at_fill, readable

__all__ = ["momentum"]


@BASELINES.register("momentum")
def momentum(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Centred ranks of the return over ``baselines.momentum_hours``, scaled to the gross limit."""
    mark_TN = past_panel.mark_price_TN
    bars, settings = past_panel.grid.bars(experiment.baselines.momentum_hours), experiment.portfolio
    readable_DN = readable(past_panel, rows_D, experiment)
    open_DN = open_at_fill(past_panel, rows_D, experiment)
    target_DN = np.full(readable_DN.shape, np.nan)
    positions = Positions(past_panel, experiment)
    for decision, row in enumerate(rows_D):
        if row < bars:
            continue
        return_N = mark_TN[row] / mark_TN[row - bars] - 1.0
        usable_N = readable_DN[decision] & np.isfinite(return_N)
        if usable_N.sum() < 2:
            continue
        rank = np.argsort(np.argsort(return_N[usable_N], kind="stable"), kind="stable").astype(np.float64)
        centred = rank - rank.mean()
        ranked_N = np.zeros(mark_TN.shape[1])
        ranked_N[usable_N] = settings.gross * centred / np.abs(centred).sum()
        open_N, held_N = open_DN[decision], positions.weights_at(int(row))
        projected_N = project_free(ranked_N, held_N, open_N, settings.max_weight, settings.gross)
        target_DN[decision] = np.where(open_N, projected_N, np.nan)
        positions.order(int(row), target_DN[decision])
    return target_DN
