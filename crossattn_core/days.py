"""Days and instants: the one place that says which rows a daily partition holds.

Instants are UTC. In storage and in arrays they are naive ``datetime64[us]``; at the edges (feeds, command
line) they are aware and converted here. Day D holds the rows whose key lies in (D 00:00, D+1 00:00].
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np

__all__ = ["HOUR", "HOURS_PER_WEEK", "HOURS_PER_YEAR", "bounds", "day_of", "days_between", "grid", "to_aware", "to_naive"]

HOUR = np.timedelta64(1, "h")
HOURS_PER_WEEK = 168
HOURS_PER_YEAR = 8760
"""Rows of the 24/7 hourly grid in a year: what an hourly series is annualised by."""


def bounds(day: date) -> tuple[datetime, datetime]:
    """(D 00:00, D+1 00:00), naive UTC: a row belongs to D when start < key <= end.

    >>> bounds(date(2025, 3, 1))
    (datetime.datetime(2025, 3, 1, 0, 0), datetime.datetime(2025, 3, 2, 0, 0))
    """
    start = datetime(day.year, day.month, day.day)
    return start, start + timedelta(days=1)


def day_of(key: datetime) -> date:
    """The day that holds a row keyed by ``key`` (naive UTC).

    >>> day_of(datetime(2025, 3, 2, 0, 0)), day_of(datetime(2025, 3, 2, 1, 0))
    (datetime.date(2025, 3, 1), datetime.date(2025, 3, 2))
    """
    return (key - timedelta(microseconds=1)).date()


def days_between(first: date, last: date) -> Iterator[date]:
    """Each day from ``first`` to ``last``, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def grid(first: date, last: date) -> np.ndarray:
    """Hourly rows ``as_of`` of the days first..last: naive UTC ``datetime64[us]``, first 01:00 to last+1 00:00.

    >>> rows = grid(date(2025, 3, 1), date(2025, 3, 1))
    >>> len(rows), str(rows[0]), str(rows[-1])
    (24, '2025-03-01T01:00:00.000000', '2025-03-02T00:00:00.000000')
    """
    start = np.datetime64(first, "us") + HOUR
    return start + np.arange(((last - first).days + 1) * 24) * HOUR


def to_naive(moment: datetime) -> datetime:
    """An aware datetime as naive UTC; a naive one is refused, since its zone is unknown."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment}: an instant at an edge needs its time zone")
    return moment.astimezone(UTC).replace(tzinfo=None)


def to_aware(moment: datetime) -> datetime:
    """A stored (naive UTC) instant as an aware one."""
    return moment.replace(tzinfo=UTC)
