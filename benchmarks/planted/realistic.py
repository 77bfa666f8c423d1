"""Moves as one-minute candles have them: a common factor, heavy-tailed shocks in clusters of volatility, coarse ticks, bid-ask
bounce, and an asset with a schedule of its own. Leads are small beside all that. Axes: T bars, N assets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMMON", "realistic_returns"]

COMMON = -1
"""Leader of an edge that is no asset but what all assets share: the market stands for it, and so does any asset."""

_SCHEDULE_BARS = 12
_DEGREES_OF_FREEDOM = 4


def realistic_returns(
    rng: np.random.Generator, bars: int, assets: int, edges: Sequence[tuple[int, int, int, float]], volatility: float
) -> NDArray[np.float64]:
    """(T, N) log returns of prices as they are printed.

    The last asset moves by a persistent amount every 12 bars, and all others move with it, as with the factor.

    Args:
        edges: leader (or ``COMMON``), follower, lag and share of the follower's variance; leaders are no followers.
        volatility: of a bar, before noise of prices.
    """
    shock_TN = rng.standard_t(_DEGREES_OF_FREEDOM, (bars, assets + 1)) / np.sqrt(_DEGREES_OF_FREEDOM / (_DEGREES_OF_FREEDOM - 2))
    schedule_T = np.zeros(bars)
    slots = np.arange(int(rng.integers(_SCHEDULE_BARS)), bars, _SCHEDULE_BARS)
    schedule_T[slots] = 0.5 * _persistent(rng, len(slots), 0.6)
    factor_T = shock_TN[:, assets] + 0.5 * schedule_T
    beta_N = rng.uniform(0.5, 0.8, assets)
    move_TN = beta_N * factor_T[:, None] + np.sqrt(1 - beta_N**2) * shock_TN[:, :assets]
    move_TN[:, -1] += schedule_T
    for leader, follower, lag, share in edges:
        past_T = factor_T if leader == COMMON else move_TN[:, leader]
        move_TN[lag:, follower] += np.sqrt(share) * past_T[:-lag]
    level_TN = 0.3 * (_persistent(rng, bars, 0.995)[:, None] + np.stack([_persistent(rng, bars, 0.98) for _ in range(assets)], 1))
    price_TN = np.cumsum(volatility * np.exp(level_TN) * move_TN, axis=0)
    # Half a spread either way, then the nearest tick: the printed price is stale or bounces where ticks are coarse.
    tick_N = volatility * rng.uniform(0.1, 0.8, assets)
    side_TN = rng.choice([-0.5, 0.5], (bars, assets))
    printed_TN = tick_N * np.round(price_TN / tick_N + side_TN * rng.uniform(0.3, 1.0, assets))
    return np.diff(printed_TN, axis=0, prepend=printed_TN[:1])


def _persistent(rng: np.random.Generator, count: int, decay: float) -> NDArray[np.float64]:
    """(count,) autoregression of unit variance."""
    shock_T = np.sqrt(1 - decay**2) * rng.standard_normal(count)
    value, value_T = float(rng.standard_normal()), np.empty(count)
    for k in range(count):
        value = decay * value + shock_T[k]
        value_T[k] = value
    return value_T
