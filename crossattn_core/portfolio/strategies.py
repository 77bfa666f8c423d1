"""The strategies that stand beside every result: no model, the same decisions, the same costs.

Each rule maps what was known at its decision rows to target weights (D, N); NaN leaves a position alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.limits import project
from crossattn_core.portfolio.positions import Book
from crossattn_core.portfolio.risk import hourly_variance
from crossattn_core.portfolio.tradability import expected_tradable

__all__ = ["BASELINE_RULES", "readable"]


def readable(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.bool_]:
    """(D, N) whether the asset's newest candle was young enough at each row to hold it at all."""
    age_DN = past_panel.age_hours_TN[rows_D]
    return np.isfinite(past_panel.mark_price_TN[rows_D]) & (age_DN <= experiment.features.max_age_hours)


def cash(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Nothing, ever."""
    return np.zeros((len(rows_D), len(past_panel.asset_ids)))


def equal_weight(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """The same share of each readable asset, restored at every decision; unlevered."""
    return _fully_invested(readable(past_panel, rows_D, experiment).astype(np.float64), experiment)


def buy_and_hold(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """An equal share of each asset, bought once, at the first decision after which the asset can be bought.

    Whether the fill succeeded is seen from the past of the next decision; until it has, the order is repeated.
    """
    lag = experiment.labels.execution_lag
    readable_DN = readable(past_panel, rows_D, experiment)
    tradable_TN = past_panel.is_tradable_TN
    share = min(1.0, experiment.portfolio.gross) / len(past_panel.asset_ids)
    target_DN = np.full(readable_DN.shape, np.nan)
    fill_D = rows_D + lag
    bought_N = np.zeros(len(past_panel.asset_ids), dtype=bool)
    settled = 0
    for decision, row in enumerate(rows_D):
        while settled < decision and fill_D[settled] <= row:
            bought_N |= tradable_TN[fill_D[settled]] & np.isfinite(target_DN[settled])
            settled += 1
        waiting_N = np.isfinite(target_DN[settled:decision]).any(axis=0) if settled < decision else np.zeros_like(bought_N)
        target_DN[decision, readable_DN[decision] & ~bought_N & ~waiting_N] = share
    return target_DN


def inverse_volatility(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Shares in proportion to 1 / trailing volatility; unlevered."""
    variance_DN = hourly_variance(past_panel.mark_price_TN, rows_D, experiment.baselines.volatility_hours)
    usable_DN = readable(past_panel, rows_D, experiment) & np.isfinite(variance_DN)
    share_DN = np.zeros(variance_DN.shape)
    share_DN[usable_DN] = variance_DN[usable_DN] ** -0.5
    return _fully_invested(share_DN, experiment)


def momentum(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Long past winners, short past losers: centred ranks of the trailing return, scaled to the gross limit."""
    mark_TN = past_panel.mark_price_TN
    hours = experiment.baselines.momentum_hours
    settings = experiment.portfolio
    readable_DN = readable(past_panel, rows_D, experiment)
    lag = experiment.labels.execution_lag
    open_DN = expected_tradable(experiment, past_panel.as_of_T[rows_D] + lag * np.timedelta64(1, "h"))
    target_DN = np.full(readable_DN.shape, np.nan)
    book = Book(past_panel, experiment)
    for decision, row in enumerate(rows_D):
        if row < hours:
            continue
        return_N = mark_TN[row] / mark_TN[row - hours] - 1.0
        usable_N = readable_DN[decision] & np.isfinite(return_N)
        if usable_N.sum() < 2:
            continue
        rank = np.argsort(np.argsort(return_N[usable_N], kind="stable"), kind="stable").astype(np.float64)
        centred = rank - rank.mean()
        wanted_N = np.zeros(mark_TN.shape[1])
        wanted_N[usable_N] = settings.gross * centred / np.abs(centred).sum()
        # What is closed stays as it is, and the rest shares what it leaves of the gross limit.
        held_N, open_N = book.held_at(int(row)), open_DN[decision]
        left = max(settings.gross - np.abs(held_N[~open_N]).sum(), 0.0)
        target_DN[decision, open_N] = project(wanted_N[open_N], np.full(int(open_N.sum()), settings.max_weight), left)
        book.order(int(row), target_DN[decision])
    return target_DN


def _fully_invested(share_DN: NDArray[np.float64], experiment: Experiment) -> NDArray[np.float64]:
    total_D1 = share_DN.sum(axis=1, keepdims=True)
    invested = min(1.0, experiment.portfolio.gross)
    return np.divide(share_DN * invested, total_D1, out=np.zeros_like(share_DN), where=total_D1 > 0)


BASELINE_RULES: dict[str, Callable[[Panel, NDArray[np.int64], Experiment], NDArray[np.float64]]] = {
    "cash": cash,
    "equal_weight": equal_weight,
    "buy_and_hold": buy_and_hold,
    "inverse_volatility": inverse_volatility,
    "momentum": momentum,
}
"""Strategies that need no forecast, by name."""
