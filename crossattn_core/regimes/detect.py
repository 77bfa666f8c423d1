"""Causal regimes of the whole market: what is said of a day never changes when later days arrive.

A detector looks at the market day by day and names each day's state from that day and the days before it. Hysteresis
follows: a change counts when the new state has held for a number of days. ``regime_D[d]`` is known when day d is
complete, so it is in force from d + 1 on.

Axes: D complete days, N assets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import MarketDays, market_days

__all__ = ["DETECTORS", "REGIME_NAMES", "Detected", "Regimes", "confirm", "daily_regimes", "expanding_terciles", "market_level"]

REGIME_NAMES = ("calm", "normal", "stress")
"""Names of the codes 0, 1, 2; -1 is unknown."""


@dataclass(frozen=True)
class Detected:
    """What a detector says before hysteresis."""

    level_D: NDArray[np.float64]
    """The quantity that decides, larger in stress; NaN while unknown."""
    state_D: NDArray[np.int64]
    """0 calm .. 2 stress; -1 while unknown."""


@dataclass(frozen=True)
class Regimes:
    """Regimes by day, after hysteresis."""

    day_D: tuple[date, ...]
    regime_D: NDArray[np.int64]
    """Confirmed regime known at the end of the day; -1 while unknown."""
    state_D: NDArray[np.int64]
    """The detector's own word, before hysteresis."""
    level_D: NDArray[np.float64]
    """The quantity that decided."""
    volatility_D: NDArray[np.float64]
    """Root mean square hourly log return of the day, averaged over assets; NaN without trade."""

    def until(self, day: date) -> "Regimes":
        """The days before ``day``: what is known at its 00:00."""
        stop = int(np.searchsorted(np.array(self.day_D, dtype="datetime64[D]"), np.datetime64(day, "D")))
        return Regimes(
            self.day_D[:stop], self.regime_D[:stop], self.state_D[:stop], self.level_D[:stop], self.volatility_D[:stop]
        )


def daily_regimes(panel: Panel, settings: RegimeSettings) -> Regimes:
    """Name the regime of each complete day of ``panel`` with the detector that ``settings`` ask for."""
    market = market_days(panel)
    detected = DETECTORS[settings.detector](market, settings)
    return Regimes(
        day_D=market.day_D,
        regime_D=confirm(detected.state_D, settings.confirm_days),
        state_D=detected.state_D,
        level_D=detected.level_D,
        volatility_D=_daily_volatility(market),
    )


def confirm(state_D: NDArray[np.int64], days: int) -> NDArray[np.int64]:
    """Hysteresis: a state replaces the regime on the day on which it has held for ``days`` days in a row.

    The first known state is taken at once; an unknown day (-1) breaks a run and changes nothing.

    >>> confirm(np.array([-1, 0, 2, 0, 2, 2, 1, 1]), 2).tolist()
    [-1, 0, 0, 0, 0, 2, 2, 1]
    """
    regime_D = np.full(len(state_D), -1, dtype=np.int64)
    current, candidate, run = -1, -1, 0
    for d, state in enumerate(state_D.tolist()):
        if state >= 0:
            run = run + 1 if state == candidate else 1
            if current < 0 or (state != current and run >= days):
                current = state
        else:
            run = 0
        candidate = state
        regime_D[d] = current
    return regime_D


def market_level(market: MarketDays, settings: RegimeSettings) -> NDArray[np.float64]:
    """(D, N) log of each asset's trailing hourly volatility over ``volatility_days``; NaN with under half a day of bars."""
    squares_DN = _trailing_sum(market.squares_DN, settings.volatility_days)
    bars_DN = _trailing_sum(market.bars_DN.astype(np.float64), settings.volatility_days)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_DN = 0.5 * np.log(squares_DN / bars_DN)
    log_DN[(bars_DN < 12) | ~np.isfinite(log_DN)] = np.nan
    return log_DN


def expanding_terciles(log_DN: NDArray[np.float64], minimum_days: int) -> Detected:
    """Rank each day's level among all days up to it, in thirds.

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
                low, high = np.quantile(past_level, (1 / 3, 2 / 3))
                state_D[d] = int(level_D[d] > low) + int(level_D[d] > high)
    return Detected(level_D, state_D)


def _volatility_terciles(market: MarketDays, settings: RegimeSettings) -> Detected:
    return expanding_terciles(market_level(market, settings), settings.minimum_days)


def _trailing_sum(value_DN: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    padded = np.concatenate([np.zeros((days - 1, value_DN.shape[1])), value_DN])
    total = np.zeros_like(value_DN)
    for offset in range(days):
        total += padded[offset : offset + len(value_DN)]
    return total


def _daily_volatility(market: MarketDays) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        volatility_DN = np.sqrt(market.squares_DN / market.bars_DN)
    known_DN = np.isfinite(volatility_DN)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known_DN, volatility_DN, 0.0).sum(axis=1) / known_DN.sum(axis=1)


Detector = Callable[[MarketDays, RegimeSettings], Detected]

DETECTORS: dict[str, Detector] = {"volatility_terciles": _volatility_terciles}
"""Detectors by the name that ``regimes.detector`` takes."""
