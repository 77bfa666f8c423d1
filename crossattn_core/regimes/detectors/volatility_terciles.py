"""Expanding terciles: a day's level in thirds of all levels up to that day.

Axes: D complete days, N assets.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.detectors.registry import DETECTORS, DetectedStates
from crossattn_core.regimes.market_days import MarketDays

__all__ = ["expanding_terciles", "market_level", "volatility_terciles"]


@DETECTORS.register("volatility_terciles")
def volatility_terciles(market: MarketDays, settings: RegimeSettings) -> DetectedStates:
    """Each day's trailing volatility in thirds of all trailing volatilities up to it."""
    return expanding_terciles(market_level(market, settings), settings.minimum_days, settings.rank_band)


def market_level(market: MarketDays, settings: RegimeSettings) -> NDArray[np.float64]:
    """(D, N) log of each asset's trailing volatility of bars over ``volatility_days``; NaN with under 12 bars."""
    squares_DN = _trailing_sum(market.squares_DN, settings.volatility_days)
    bars_DN = _trailing_sum(market.bars_DN.astype(np.float64), settings.volatility_days)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_DN = 0.5 * np.log(squares_DN / bars_DN)
    log_DN[(bars_DN < 12) | ~np.isfinite(log_DN)] = np.nan
    return log_DN


def expanding_terciles(log_DN: NDArray[np.float64], minimum_days: int, rank_band: float) -> DetectedStates:
    """Rank each day's level among all days up to it, in thirds; a third is left only when its edge is passed by ``rank_band``.

    The level of day s, seen from day d, is the mean over assets of log volatility minus the asset's own mean up to
    d: an asset that is listed late and is wilder than the rest does not look like a storm.
    """
    days = len(log_DN)
    known_DN = np.isfinite(log_DN)
    filled_DN = np.where(known_DN, log_DN, 0.0)
    count_DN = np.cumsum(known_DN, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        own_mean_DN = np.where(count_DN > 0, np.cumsum(filled_DN, axis=0) / count_DN, 0.0)
        sum_D, seen_D = filled_DN.sum(axis=1), known_DN.sum(axis=1)
        level_D = np.full(days, np.nan)
        state_D = np.full(days, -1, dtype=np.int64)
        for d in range(days):
            # Row sums (not a matrix product): their bits do not depend on how many days follow.
            past_level = (sum_D[: d + 1] - (known_DN[: d + 1] * own_mean_DN[d]).sum(axis=1)) / seen_D[: d + 1]
            level_D[d] = past_level[-1]
            past_level = past_level[np.isfinite(past_level)]
            if np.isfinite(level_D[d]) and len(past_level) >= minimum_days:
                rank = float((past_level < level_D[d]).mean())
                state_D[d] = _third(rank, int(state_D[d - 1]), rank_band)
    return DetectedStates(level_D, state_D)


def _third(rank: float, before: int, band: float) -> int:
    """The third that ``rank`` (0..1) lies in, seen from the third of the day before (-1: none).

    >>> [_third(rank, 1, 0.1) for rank in (0.2, 0.3, 0.7, 0.8)]
    [0, 1, 1, 2]
    """
    if before < 0:
        return min(int(rank * 3), 2)
    third = before
    while third < 2 and rank > (third + 1) / 3 + band:
        third += 1
    while third > 0 and rank < third / 3 - band:
        third -= 1
    return third


def _trailing_sum(value_DN: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    padded = np.concatenate([np.zeros((days - 1, value_DN.shape[1])), value_DN])
    total = np.zeros_like(value_DN)
    for offset in range(days):
        total += padded[offset : offset + len(value_DN)]
    return total
