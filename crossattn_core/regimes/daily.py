"""The market's regime of each day, causal: a day's regime never changes when later days arrive.

A detector names each day's state from that day and the days before it (see detectors/). Hysteresis follows: a change counts
when the new state has held for a number of days. ``regime_D[d]`` is known when day d is complete, so it is in force from
d + 1 on.

Axes: D complete days, N assets.
"""

import hashlib
from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.detectors.registry import DETECTORS, DetectedStates
from crossattn_core.regimes.market_days import MarketDays, daily_correlation, market_days

__all__ = ["REGIME_NAMES", "Regimes", "confirm", "daily_regimes"]

REGIME_NAMES = ("calm", "normal", "stress")
"""Names of the codes 0, 1, 2; -1 is unknown."""

_CACHE: dict[bytes, DetectedStates] = {}
_MAX_CACHED = 4


@dataclass(frozen=True)
class Regimes:
    """Regimes by day, after hysteresis."""

    day_D: tuple[date, ...]
    regime_D: NDArray[np.int64]
    """Confirmed regime known at the end of the day; -1 while unknown."""
    state_D: NDArray[np.int64]
    """The detector's state, before hysteresis."""
    level_D: NDArray[np.float64]
    """The quantity that decided."""
    volatility_D: NDArray[np.float64]
    """Root mean square log return of the day's bars, averaged over assets; NaN without trade."""
    correlation_D: NDArray[np.float64]
    """Correlation of bars' returns within the day, averaged over pairs of assets; NaN without common bars."""

    def until(self, day: date) -> "Regimes":
        """The days before ``day``: what is known at its 00:00."""
        stop = int(np.searchsorted(np.array(self.day_D, dtype="datetime64[D]"), np.datetime64(day, "D")))
        return Regimes(*(getattr(self, each.name)[:stop] for each in fields(self)))


def daily_regimes(panel: Panel, settings: RegimeSettings) -> Regimes:
    """The regime of each complete day of ``panel`` by the detector ``settings.detector``.

    Raises:
        ContractError: the panel does not start with a day's first row.
        ExperimentError: no detector has that name.
    """
    market = market_days(panel)
    detected = _detected(market, settings)
    return Regimes(
        day_D=market.day_D,
        regime_D=confirm(detected.state_D, settings.confirm_days),
        state_D=detected.state_D,
        level_D=detected.level_D,
        volatility_D=_daily_volatility(market),
        correlation_D=daily_correlation(market),
    )


def _detected(market: MarketDays, settings: RegimeSettings) -> DetectedStates:
    """The detector's states, cached for the newest markets: one run needs them several times, and some detectors take seconds."""
    detector = DETECTORS.get(settings.detector)
    content = hashlib.blake2b(repr((detector, market.day_D, settings.content_hash())).encode())
    content.update(np.ascontiguousarray(market.return_DHN).tobytes())
    key = content.digest()
    if key not in _CACHE:
        while len(_CACHE) >= _MAX_CACHED:
            _CACHE.pop(next(iter(_CACHE)))
        _CACHE[key] = detector(market, settings)
    return _CACHE[key]


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


def _daily_volatility(market: MarketDays) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        volatility_DN = np.sqrt(market.squares_DN / market.bars_DN)
        known_DN = np.isfinite(volatility_DN)
        return np.where(known_DN, volatility_DN, 0.0).sum(axis=1) / known_DN.sum(axis=1)
