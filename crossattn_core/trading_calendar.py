"""When a venue's candles open and close: the one place that uses exchange_calendars.

A venue that never closes has a candle for every interval. A stock exchange has them from the opening bell in
steps of the interval, the last one cut at the closing bell: XNYS hours open at :30 and the last lasts 30 minutes, of 4 hours
there are two, and a day is one candle from bell to bell.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import HistoryError

__all__ = [
    "ALWAYS_OPEN",
    "Bars",
    "closing_times",
    "exchange_timezone",
    "expected_bars",
    "opening_bells",
    "session_bounds",
    "session_days",
]

ALWAYS_OPEN = "24/7"

# Explicit, so that neither the machine's clock nor the library's default window decides what a session is.
_FIRST, _LAST = "2000-01-01", "2035-12-31"
_EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


@dataclass(frozen=True)
class Bars:
    """The candles that a calendar calls for. Axis T: bars, in time order."""

    opened_T: NDArray[np.datetime64]
    closed_T: NDArray[np.datetime64]
    session_T: NDArray[np.int64]
    """Running number of the session that each bar belongs to; all 0 on a venue that never closes."""
    is_optional_T: NDArray[np.bool_]
    """Closing bars of half days that the bell cuts short: sources often lack them, so their absence is no gap."""

    def __len__(self) -> int:
        return len(self.opened_T)

    def between(self, start: datetime, end: datetime) -> "Bars":
        """The bars with closed_at in (start, end]."""
        first, stop = np.searchsorted(self.closed_T, np.array([start, end], dtype="datetime64[us]"), side="right")
        return Bars(
            self.opened_T[first:stop], self.closed_T[first:stop], self.session_T[first:stop], self.is_optional_T[first:stop]
        )


def expected_bars(calendar: str, start: datetime, end: datetime, interval: timedelta = timedelta(hours=1)) -> Bars:
    """The bars of ``calendar`` with closed_at in (start, end], naive UTC.

    Args:
        calendar: ``24/7`` or an exchange_calendars name such as ``XNYS``.
        start, end: naive UTC.
        interval: a divisor of a day; a whole day on an exchange means one bar a session.

    >>> bars = expected_bars("XNYS", datetime(2025, 3, 7), datetime(2025, 3, 8))
    >>> [f"{opened:%H:%M}-{closed:%H:%M}" for opened, closed in zip(bars.opened_T.tolist(), bars.closed_T.tolist())]
    ['14:30-15:30', '15:30-16:30', '16:30-17:30', '17:30-18:30', '18:30-19:30', '19:30-20:30', '20:30-21:00']
    """
    if calendar == ALWAYS_OPEN:
        return _always_open(start, end, interval)
    return _session_bars(calendar, start, end, interval)


def session_bounds(calendar: str) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Opening and closing bell of every session that is known, naive UTC datetime64[us]."""
    return _bells(calendar)


def closing_times(
    calendar: str, opened_T: NDArray[np.datetime64], interval: timedelta = timedelta(hours=1)
) -> NDArray[np.datetime64]:
    """When candles that opened then close: an interval later, or at the bell for the last of a session.

    An opening instant that is no bar of the calendar gets the plain interval; NaT stays NaT.
    """
    closed_T = opened_T + np.timedelta64(interval)
    known_T = opened_T[~np.isnat(opened_T)]
    if calendar == ALWAYS_OPEN or not len(known_T):
        return closed_T
    day = timedelta(days=1)
    bars = expected_bars(calendar, known_T.min().item() - day, known_T.max().item() + day, interval)
    if not len(bars):
        return closed_T
    place_T = np.minimum(np.searchsorted(bars.opened_T, opened_T), len(bars) - 1)
    return np.where(bars.opened_T[place_T] == opened_T, bars.closed_T[place_T], closed_T)


def opening_bells(calendar: str, day_T: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The opening bell of the session on the day of each instant (UTC days, which every session of ours lies inside).

    A day without a session keeps its instant.
    """
    if calendar == ALWAYS_OPEN or not len(day_T):
        return day_T
    opens_S = _bells(calendar)[0]
    dates_S, dates_T = opens_S.astype("datetime64[D]"), day_T.astype("datetime64[D]")
    place_T = np.minimum(np.searchsorted(dates_S, dates_T), len(opens_S) - 1)
    return np.where(dates_S[place_T] == dates_T, opens_S[place_T], day_T)


def session_days(calendar: str, stamp_T: NDArray[np.datetime64]) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """(opened_at, closed_at) of daily candles by their stamp: the opening bell, or midnight of the session's date.

    Midnight is UTC's or the exchange's own. A stamp that names no session, and any on a venue that never closes, opens then
    and closes a day later.
    """
    opened_T, closed_T = stamp_T.copy(), stamp_T + np.timedelta64(1, "D")
    if calendar == ALWAYS_OPEN or not len(stamp_T):
        return opened_T, closed_T
    opens_S, closes_S = _bells(calendar)
    known_T = np.flatnonzero(~np.isnat(stamp_T))
    utc_T = stamp_T[known_T]
    zone = exchange_timezone(calendar)
    local_T = pd.DatetimeIndex(utc_T).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[us]")
    local_S = pd.DatetimeIndex(opens_S).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[D]")
    day_T = np.where(utc_T == utc_T.astype("datetime64[D]"), utc_T, local_T).astype("datetime64[D]")
    is_midnight_T = (utc_T == utc_T.astype("datetime64[D]")) | (local_T == local_T.astype("datetime64[D]"))
    place_T = np.minimum(np.searchsorted(local_S, day_T), len(opens_S) - 1)
    is_session_T = (local_S[place_T] == day_T) & (is_midnight_T | (opens_S[place_T] == utc_T))
    opened_T[known_T[is_session_T]] = opens_S[place_T[is_session_T]]
    closed_T[known_T[is_session_T]] = closes_S[place_T[is_session_T]]
    return opened_T, closed_T


def exchange_timezone(calendar: str) -> str:
    """The exchange's own time zone, for instance ``America/New_York``."""
    import exchange_calendars

    return str(exchange_calendars.get_calendar(calendar, start=_FIRST, end=_LAST).tz)


def _always_open(start: datetime, end: datetime, interval: timedelta) -> Bars:
    step = np.timedelta64(int(interval.total_seconds()), "s").astype("timedelta64[us]")
    first = (np.datetime64(start, "us") - _EPOCH) // step + 1
    last = (np.datetime64(end, "us") - _EPOCH) // step
    closed_T = _EPOCH + np.arange(first, last + 1) * step
    nothing_T = np.zeros(len(closed_T), dtype=np.int64)
    return Bars(closed_T - step, closed_T, nothing_T, nothing_T.astype(bool))


def _session_bars(calendar: str, start: datetime, end: datetime, interval: timedelta) -> Bars:
    opens_S, closes_S = _bells(calendar)
    # Of the sessions that overlap the range alone: a calendar of minutes has millions.
    first = int(np.searchsorted(closes_S, np.datetime64(start, "us"), side="right"))
    stop = max(int(np.searchsorted(opens_S, np.datetime64(end, "us"), side="left")), first)
    opens_S, closes_S, is_half_S = opens_S[first:stop], closes_S[first:stop], _half_days(calendar)[first:stop]
    length_S = closes_S - opens_S
    step_S = length_S if interval >= timedelta(days=1) else np.full_like(length_S, np.timedelta64(interval))
    bars_S = -(-length_S // step_S)
    place_T = np.repeat(np.arange(len(opens_S)), bars_S)
    order_T = np.arange(len(place_T)) - np.repeat(np.cumsum(bars_S) - bars_S, bars_S)
    opened_T = opens_S[place_T] + order_T * step_S[place_T]
    closed_T = np.minimum(opened_T + step_S[place_T], closes_S[place_T])
    is_cut_T = closed_T - opened_T < step_S[place_T]
    is_optional_T = is_half_S[place_T] & is_cut_T & (bars_S[place_T] > 1)
    return Bars(opened_T, closed_T, first + place_T.astype(np.int64), is_optional_T).between(start, end)


@lru_cache(maxsize=8)
def _half_days(calendar: str) -> NDArray[np.bool_]:
    """Which sessions are shorter than most."""
    opens_S, closes_S = _bells(calendar)
    length_S = closes_S - opens_S
    return length_S < np.median(length_S)


@lru_cache(maxsize=8)
def _bells(calendar: str) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    # Half a second of import that a market without sessions never pays.
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        schedule = exchange_calendars.get_calendar(calendar, start=_FIRST, end=_LAST).schedule
    except InvalidCalendarName as error:
        raise HistoryError(f"{calendar}: no such exchange calendar; see exchange_calendars.get_calendar_names()") from error
    opens, closes = (schedule[name].dt.tz_convert(None).to_numpy().astype("datetime64[us]") for name in ("open", "close"))
    return opens, closes
