"""Cutting a range of bars into requests: aligned, disjoint, none longer than a page.

Of a range that is wider than a page Bybit gives the newest bars only, and floors the start to the bar that
holds it. Windows that start and end on bars and never touch fetch each bar exactly once.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

__all__ = ["INTERVALS", "Window", "bar_end", "opens_in", "page_windows", "whole_pages"]

INTERVALS: dict[str, timedelta] = {
    **{name: timedelta(minutes=int(name)) for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")},
    "D": timedelta(days=1),
    "W": timedelta(weeks=1),
    "M": timedelta(days=31),
}
"""Bybit's interval names; 'W' opens on Mondays, 'M' on the first (and lasts as long as its month does)."""

_EPOCH = datetime(1970, 1, 1)
_FULL = 0.979
"""Share of its pages that a window's bars fill; it may hold several, which one kill then costs."""
_FIRST_MONDAY = datetime(1970, 1, 5)


@dataclass(frozen=True)
class Window:
    """The bars that open from ``first_open`` to ``last_open``, both included; naive UTC."""

    first_open: datetime
    last_open: datetime
    bars: int


def bar_end(opened_at: datetime, interval: str) -> datetime:
    """When the bar that opens at ``opened_at`` closes.

    >>> bar_end(datetime(2024, 2, 1), "M")
    datetime.datetime(2024, 3, 1, 0, 0)
    """
    if interval != "M":
        return opened_at + INTERVALS[interval]
    return (opened_at.replace(day=1) + timedelta(days=32)).replace(day=1)


def opens_in(start: datetime, end: datetime, interval: str) -> list[datetime]:
    """Opening instants of the bars with start < close <= end.

    >>> [opened.hour for opened in opens_in(datetime(2025, 3, 1), datetime(2025, 3, 1, 3), "60")]
    [0, 1, 2]
    """
    if end <= start:
        return []
    if interval == "M":
        opened = _first_of_month(start.date())
        opens = []
        while bar_end(opened, "M") <= end:
            if bar_end(opened, "M") > start:
                opens.append(opened)
            opened = bar_end(opened, "M")
        return opens
    step, anchor = INTERVALS[interval], _FIRST_MONDAY if interval == "W" else _EPOCH
    first, stop = (start - anchor) // step, (end - anchor) // step
    return [anchor + step * place for place in range(first, stop)]


def page_windows(start: datetime, end: datetime, interval: str, limit: int) -> list[Window]:
    """Windows of at most ``limit`` bars that hold each bar with start < close <= end once, oldest first.

    >>> [window.bars for window in page_windows(datetime(2025, 1, 1), datetime(2025, 3, 1), "60", 1000)]
    [1000, 416]
    """
    opens = opens_in(start, end, interval)
    pages = [opens[place : place + limit] for place in range(0, len(opens), limit)]
    return [Window(page[0], page[-1], len(page)) for page in pages]


def whole_pages(step: timedelta, limit: int) -> int:
    """The fewest days whose bars leave at most 2% of their pages empty; the days of one page where one holds many.

    >>> [whole_pages(INTERVALS[name], 1000) for name in ("1", "5", "60", "D")]
    [9, 17, 41, 1000]
    """
    in_one = int(limit * step / timedelta(days=1))
    if in_one > 1 and in_one * timedelta(days=1) / step >= _FULL * limit:
        return in_one
    return next(days for days in range(1, 1000) if (bars := days * timedelta(days=1) / step) >= _FULL * limit * -(-bars // limit))


def _first_of_month(day: date) -> datetime:
    return datetime(day.year, day.month, 1)
