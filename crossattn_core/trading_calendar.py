"""When a venue's candles open and close: the one place that uses exchange_calendars.

A venue that never closes has a candle for every interval. A stock exchange has them from the opening bell in
steps of the interval, the last one cut at the closing bell: XNYS hours open at :30 and the last lasts 30 minutes, of 4 hours
there are two, and a day is one candle from bell to bell. A lunch break cuts as the bell does, and the steps begin anew after it.
A session belongs to the exchange's own date, whatever the UTC days that it touches: Sydney's Monday opens on Sunday.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import HistoryError

__all__ = [
    "ALWAYS_OPEN",
    "Bars",
    "calendar_names",
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
_MAINTENANCE = {"CMES": timedelta(hours=1)}
"""What the library counts as trade before the close and is none: CME Globex rests from 16:00 to 17:00 in Chicago."""


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
    held = _sessions(calendar)
    return held.opens_S, held.closes_S


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
    """The opening bell of the session that each instant lies in, or else of the session of its UTC date.

    An instant without a session is kept.
    """
    if calendar == ALWAYS_OPEN or not len(day_T):
        return day_T
    held = _sessions(calendar)
    within_T = np.maximum(np.searchsorted(held.opens_S, day_T, side="right") - 1, 0)
    is_within_T = (held.opens_S[within_T] <= day_T) & (day_T < held.closes_S[within_T])
    dates_T = day_T.astype("datetime64[D]")
    place_T = np.minimum(np.searchsorted(held.dates_S, dates_T), len(held.dates_S) - 1)
    by_date_T = np.where(held.dates_S[place_T] == dates_T, held.opens_S[place_T], day_T)
    return np.where(is_within_T, held.opens_S[within_T], by_date_T)


def session_days(calendar: str, stamp_T: NDArray[np.datetime64]) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """(opened_at, closed_at) of daily candles by their stamp: the opening bell, or midnight of the session's date.

    Midnight is UTC's or the exchange's own. A stamp that names no session, and any on a venue that never closes, opens then
    and closes a day later.
    """
    opened_T, closed_T = stamp_T.copy(), stamp_T + np.timedelta64(1, "D")
    if calendar == ALWAYS_OPEN or not len(stamp_T):
        return opened_T, closed_T
    held = _sessions(calendar)
    opens_S, closes_S = held.opens_S, held.closes_S
    known_T = np.flatnonzero(~np.isnat(stamp_T))
    utc_T = stamp_T[known_T]
    zone = exchange_timezone(calendar)
    local_T = pd.DatetimeIndex(utc_T).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[us]")
    day_T = np.where(utc_T == utc_T.astype("datetime64[D]"), utc_T, local_T).astype("datetime64[D]")
    is_midnight_T = (utc_T == utc_T.astype("datetime64[D]")) | (local_T == local_T.astype("datetime64[D]"))
    place_T = np.minimum(np.searchsorted(held.dates_S, day_T), len(opens_S) - 1)
    is_date_T = (held.dates_S[place_T] == day_T) & is_midnight_T
    bell_T = np.minimum(np.searchsorted(opens_S, utc_T), len(opens_S) - 1)
    is_bell_T = opens_S[bell_T] == utc_T
    place_T = np.where(is_date_T, place_T, bell_T)
    is_session_T = is_date_T | is_bell_T
    opened_T[known_T[is_session_T]] = opens_S[place_T[is_session_T]]
    closed_T[known_T[is_session_T]] = closes_S[place_T[is_session_T]]
    return opened_T, closed_T


def calendar_names() -> list[str]:
    """Every exchange_calendars name, aliases left out."""
    import exchange_calendars

    return exchange_calendars.get_calendar_names(include_aliases=False)


def exchange_timezone(calendar: str) -> str:
    """The exchange's own time zone, for instance ``America/New_York``."""
    return str(_exchange(calendar).tz)


def _always_open(start: datetime, end: datetime, interval: timedelta) -> Bars:
    step = np.timedelta64(int(interval.total_seconds()), "s").astype("timedelta64[us]")
    first = (np.datetime64(start, "us") - _EPOCH) // step + 1
    last = (np.datetime64(end, "us") - _EPOCH) // step
    closed_T = _EPOCH + np.arange(first, last + 1) * step
    nothing_T = np.zeros(len(closed_T), dtype=np.int64)
    return Bars(closed_T - step, closed_T, nothing_T, nothing_T.astype(bool))


def _session_bars(calendar: str, start: datetime, end: datetime, interval: timedelta) -> Bars:
    held = _sessions(calendar)
    # Of the sessions that overlap the range alone: a calendar of minutes has millions.
    first = int(np.searchsorted(held.closes_S, np.datetime64(start, "us"), side="right"))
    stop = max(int(np.searchsorted(held.opens_S, np.datetime64(end, "us"), side="left")), first)
    opens_P, closes_P, session_P = held.opens_S[first:stop], held.closes_S[first:stop], np.arange(first, stop)
    is_day = interval >= timedelta(days=1)
    if not is_day:
        opens_P, closes_P, session_P = _parts(held, first, stop)
    is_half_P = held.is_half_S[session_P]
    length_P = closes_P - opens_P
    step_P = length_P if is_day else np.full_like(length_P, np.timedelta64(interval))
    bars_P = -(-length_P // step_P)
    place_T = np.repeat(np.arange(len(opens_P)), bars_P)
    order_T = np.arange(len(place_T)) - np.repeat(np.cumsum(bars_P) - bars_P, bars_P)
    opened_T = opens_P[place_T] + order_T * step_P[place_T]
    closed_T = np.minimum(opened_T + step_P[place_T], closes_P[place_T])
    is_cut_T = closed_T - opened_T < step_P[place_T]
    is_optional_T = is_half_P[place_T] & is_cut_T & (bars_P[place_T] > 1)
    return Bars(opened_T, closed_T, session_P[place_T].astype(np.int64), is_optional_T).between(start, end)


@dataclass(frozen=True)
class _Sessions:
    """Every session that is known, in time order. Axis S: sessions; instants naive UTC datetime64[us]."""

    opens_S: NDArray[np.datetime64]
    closes_S: NDArray[np.datetime64]
    breaks_S2: NDArray[np.datetime64]
    """Start and end of the lunch break; NaT where there is none."""
    dates_S: NDArray[np.datetime64]
    """The exchange's own date of each, in days."""
    is_half_S: NDArray[np.bool_]
    """Whether it is shorter than most."""


def _parts(held: _Sessions, first: int, stop: int) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64], NDArray[np.int64]]:
    """(opens, closes, session) of the stretches of trade of the sessions [first, stop): two where a break parts them."""
    session_P = np.arange(first, stop)
    has_break_P = ~np.isnat(held.breaks_S2[first:stop, 0])
    opens = np.concatenate([held.opens_S[first:stop], held.breaks_S2[first:stop, 1][has_break_P]])
    ends = np.where(has_break_P, held.breaks_S2[first:stop, 0], held.closes_S[first:stop])
    closes = np.concatenate([ends, held.closes_S[first:stop][has_break_P]])
    order = np.argsort(opens, kind="stable")
    return opens[order], closes[order], np.concatenate([session_P, session_P[has_break_P]])[order]


@lru_cache(maxsize=32)
def _sessions(calendar: str) -> _Sessions:
    schedule = _exchange(calendar).schedule
    columns = [
        schedule[name].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
        for name in ("open", "close", "break_start", "break_end")
    ]
    opens_S, closes_S, *breaks = columns
    closes_S = closes_S - np.timedelta64(_MAINTENANCE.get(calendar, timedelta(0)))
    length_S = closes_S - opens_S
    dates_S = schedule.index.to_numpy().astype("datetime64[D]")
    return _Sessions(opens_S, closes_S, np.stack(breaks, axis=1), dates_S, length_S < np.median(length_S))


@lru_cache(maxsize=32)
def _exchange(calendar: str) -> Any:
    """The library's calendar from ``_FIRST`` to ``_LAST``, or as far as the library knows the exchange's holidays."""
    # Half a second of import that a market without sessions never pays.
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        known = type(exchange_calendars.get_calendar(calendar))
        lower, upper = known.bound_min(), known.bound_max()
        first = _FIRST if lower is None else max(pd.Timestamp(_FIRST), lower)
        last = _LAST if upper is None else min(pd.Timestamp(_LAST), upper)
        return exchange_calendars.get_calendar(calendar, start=first, end=last)
    except InvalidCalendarName as error:
        raise HistoryError(f"{calendar}: no such exchange calendar; see exchange_calendars.get_calendar_names()") from error
    except (ValueError, NotImplementedError) as error:
        raise HistoryError(f"{calendar}: exchange_calendars cannot make it ({str(error)[:80]}...); choose another one") from error
