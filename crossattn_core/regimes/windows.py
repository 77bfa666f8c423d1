"""Regime windows: a window starts when a regime is confirmed and has no end until the next one starts."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.daily import REGIME_NAMES, Regimes

__all__ = ["WINDOW_COLUMNS", "InForce", "regime_in_force", "regime_windows"]

WINDOW_COLUMNS = (
    "window_id",
    "regime",
    "name",
    "onset",
    "confirmed",
    "end",
    "days",
    "volatility",
    "correlation",
    "level",
    "opened_by",
)
"""Grain: one row a window. ``onset``: first day of the run that was confirmed (descriptive, known only later).
``confirmed``: first day on which the regime is in force from 00:00. ``end``: first day of the next window (exclusive), NaT
while open. ``days`` so far; ``volatility``: mean root mean square log return of its days' bars; ``correlation``: mean pairwise
correlation of bars' returns within its days; ``opened_by``: first,
regime_change or maximum_length."""


class InForce(NamedTuple):
    """What is in force at a day's 00:00."""

    regime: int
    """-1 while unknown."""
    window_id: int
    """-1 while unknown."""
    confirmed: date | None


def regime_windows(regimes: Regimes, settings: RegimeSettings) -> pd.DataFrame:
    """List the windows, oldest first (``WINDOW_COLUMNS``).

    Later days lengthen the newest window or add windows after it; earlier rows keep everything but ``end`` and the
    statistics of the window that was open.
    """
    rows: list[dict[str, object]] = []
    starts = _starts(regimes, settings)
    for number, (start, opened_by) in enumerate(starts):
        stop = starts[number + 1][0] if number + 1 < len(starts) else None
        # Index d in regime_D is known at the end of day d: the window's first day in force is the day after.
        regime = int(regimes.regime_D[start])
        confirmed = regimes.day_D[start] + timedelta(days=1)
        inside = slice(start + 1, None if stop is None else stop + 1)
        rows.append(
            {
                "window_id": number,
                "regime": regime,
                "name": REGIME_NAMES[regime],
                "onset": confirmed if opened_by == "maximum_length" else regimes.day_D[_onset(regimes, start)],
                "confirmed": confirmed,
                "end": None if stop is None else regimes.day_D[stop] + timedelta(days=1),
                "days": len(regimes.day_D[inside]),
                "volatility": _mean(regimes.volatility_D[inside]),
                "correlation": _mean(regimes.correlation_D[inside]),
                "level": _mean(regimes.level_D[inside]),
                "opened_by": opened_by,
            }
        )
    windows = pd.DataFrame(rows, columns=list(WINDOW_COLUMNS))
    for column in ("onset", "confirmed", "end"):
        windows[column] = pd.to_datetime(windows[column]).astype("datetime64[us]")
    types = {"window_id": "int64", "regime": "int64", "days": "int64"}
    return windows.astype(types | dict.fromkeys(("volatility", "correlation", "level"), "float64"))


def regime_in_force(windows: pd.DataFrame, day: date) -> InForce:
    """The regime and window in force at ``day`` 00:00."""
    moment = pd.Timestamp(day)
    number = int(np.searchsorted(windows["confirmed"].to_numpy(), moment.to_datetime64(), side="right")) - 1
    if number < 0:
        return InForce(-1, -1, None)
    row = windows.iloc[number]
    return InForce(int(row["regime"]), int(row["window_id"]), row["confirmed"].date())


def _starts(regimes: Regimes, settings: RegimeSettings) -> list[tuple[int, str]]:
    """(index of the day whose end opens a window, why), oldest first."""
    starts: list[tuple[int, str]] = []
    current = -1
    for d, regime in enumerate(regimes.regime_D.tolist()):
        if regime < 0:
            continue
        if regime != current:
            starts.append((d, "first" if not starts else "regime_change"))
            current = regime
        elif d - starts[-1][0] >= settings.max_window_days:
            starts.append((d, "maximum_length"))
    return starts


def _onset(regimes: Regimes, confirmed: int) -> int:
    """First day of the run of equal states that the day ``confirmed`` closes."""
    start, state = confirmed, regimes.state_D[confirmed]
    while start > 0 and regimes.state_D[start - 1] == state:
        start -= 1
    return start


def _mean(value: np.ndarray) -> float:
    known = value[np.isfinite(value)]
    return float(known.mean()) if len(known) else float("nan")
