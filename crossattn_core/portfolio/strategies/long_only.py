"""Baselines that are never short and never levered: cash, equal weight, buy and hold, inverse volatility."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.risk import bar_variance
from crossattn_core.portfolio.strategies.registry import BASELINES, fully_invested
from crossattn_core.portfolio.tradability import readable

__all__ = ["buy_and_hold", "cash", "equal_weight", "inverse_volatility"]


@BASELINES.register("cash")
def cash(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Nothing, ever: what every other strategy has to beat."""
    return np.zeros((len(rows_D), len(past_panel.asset_ids)))


@BASELINES.register("equal_weight")
def equal_weight(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """The same share of each readable asset, restored at every decision: the default fallback and benchmark."""
    return fully_invested(readable(past_panel, rows_D, experiment).astype(np.float64), experiment)


@BASELINES.register("buy_and_hold")
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


@BASELINES.register("inverse_volatility")
def inverse_volatility(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Shares in proportion to 1 / trailing volatility, so that every asset carries about the same risk."""
    variance_DN = bar_variance(past_panel.mark_price_TN, rows_D, past_panel.grid.bars(experiment.baselines.volatility_hours))
    usable_DN = readable(past_panel, rows_D, experiment) & np.isfinite(variance_DN)
    share_DN = np.zeros(variance_DN.shape)
    share_DN[usable_DN] = variance_DN[usable_DN] ** -0.5
    return fully_invested(share_DN, experiment)
