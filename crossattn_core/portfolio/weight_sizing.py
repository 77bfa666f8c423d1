"""Weights that a model gives itself (a family whose head is 'weights'), brought within the portfolio's limits.

No belief, no edge and no zone: the model was trained on what its weights earn net of turnover. The limits and the
no-trade band are those of every strategy (see sizing.py).

Axes: D decisions, T rows, N assets.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.limits import groups_of
from crossattn_core.portfolio.positions import Book
from crossattn_core.portfolio.sizing import Rule, trade_cost
from crossattn_core.portfolio.strategies import readable
from crossattn_core.portfolio.tradability import expected_tradable

__all__ = ["weight_decisions"]


def weight_decisions(
    past_panel: Panel, past_weight_TN: NDArray[np.floating], rows_D: NDArray[np.int64], experiment: Experiment
) -> NDArray[np.float64]:
    """(D, N) target weights; row d reads nothing after ``rows_D[d]``. NaN: the position is left alone.

    Args:
        past_panel: the panel, to its newest row.
        past_weight_TN: share of equity that the model wants at each row, at most ``portfolio.gross`` in all; NaN: no
            answer, and the position is left alone.
        rows_D: decision rows, increasing.

    Raises:
        BacktestError: the weights do not match the panel.
    """
    if past_weight_TN.shape != past_panel.mark_price_TN.shape:
        raise BacktestError(
            f"wanted weights have shape {past_weight_TN.shape}, the panel {past_panel.mark_price_TN.shape}; "
            "align them by as_of and asset_id"
        )
    lag = experiment.labels.execution_lag
    usable_DN = readable(past_panel, rows_D, experiment) & np.isfinite(past_weight_TN[rows_D])
    usable_DN &= expected_tradable(experiment, past_panel.as_of_T[rows_D] + lag * np.timedelta64(1, "h"))
    rule = Rule(experiment, trade_cost(past_panel.asset_ids, experiment.costs), groups_of(experiment), past_panel.mark_price_TN)
    book = Book(past_panel, experiment)
    target_DN = np.empty(usable_DN.shape)
    for decision, row in enumerate(rows_D):
        held_N = book.held_at(int(row))
        wanted_N = np.where(usable_DN[decision], past_weight_TN[row].astype(np.float64), held_N)
        target_DN[decision] = rule.limited(int(row), wanted_N, usable_DN[decision], held_N, experiment.portfolio.gross)
        book.order(int(row), target_DN[decision])
    return target_DN
