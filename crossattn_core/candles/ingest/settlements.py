"""How many funding settlements a day should have: by the source's interval, by the day's own hours, by the days around it."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import gcd

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["MAX_LATE", "on_the_hour", "settlements_called_for"]

MAX_LATE = timedelta(minutes=1)
"""A settlement that is stamped so little after an hour fell due on the hour."""
_LONGEST_HOURS = 8
"""Between two settlements of a perpetual, at most."""
_AROUND = 3
"""Days before and after whose settlements say what is called for."""
_HOUR = np.timedelta64(1, "h")


def on_the_hour(settled_T: pd.Series) -> pd.Series:
    """Settlements that are stamped a little late, on their hour; others as they are."""
    hour_T = settled_T.dt.floor("h")
    return hour_T.where(settled_T - hour_T <= MAX_LATE, settled_T)


def settlements_called_for(
    days: Sequence[date], settled_T: NDArray[np.datetime64], stored: Mapping[date, int], interval: timedelta | None
) -> dict[date, int]:
    """Day -> settlements that the source should have for it.

    A day's own hours call for 24 hours over their greatest common divisor: 04:00, 12:00 and 20:00 are settled every four hours,
    with three missing. What the days before and the days after both have is called for in between. The source's interval is
    today's: it counts from the first day on that has as many, and on every day where none has.

    Args:
        days: consecutive days of the request.
        settled_T: what was accepted, (first 00:00, last 24:00].
        stored: day -> settlements that are stored, of days around the request's.
        interval: the source's own, where it says so.

    >>> stamps = np.array(["2025-03-01T04", "2025-03-01T12", "2025-03-01T20"], "datetime64[us]")
    >>> settlements_called_for([date(2025, 3, 1)], stamps, {}, None)
    {datetime.date(2025, 3, 1): 6}
    """
    hour_T = np.round((settled_T - np.datetime64(days[0], "us")) / _HOUR).astype(int)
    hours: dict[date, list[int]] = {day: [] for day in days}
    for hour in hour_T.tolist():
        hours[days[min(max(-(-hour // 24) - 1, 0), len(days) - 1)]].append(hour)
    own = {day: 24 // gcd(_LONGEST_HOURS, *found) for day, found in hours.items()}
    had = {**stored, **{day: len(set(found)) for day, found in hours.items()}}
    called_for: dict[date, int] = {}
    for day in days:
        sides = [
            [had[near] for back in range(1, _AROUND + 1) if (near := day + sign * timedelta(days=back)) in had]
            for sign in (-1, 1)
        ]
        called_for[day] = max([own[day], *([min(max(side) for side in sides if side)] if any(sides) else [])])
    if interval is not None:
        count = max(timedelta(days=1) // interval, 1)
        since = min((day for day, found in had.items() if found >= count), default=date.min)
        called_for |= {day: max(called, count) for day, called in called_for.items() if day >= since}
    return called_for
