"""Days and instants: the one place that says which rows a daily partition holds.

Instants are UTC. In storage and in arrays they are naive ``datetime64[us]``; at the edges (feeds, command
line) they are aware and converted here. Day D holds the rows whose key lies in (D 00:00, D+1 00:00].
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

__all__ = ["bounds", "day_of", "days_between", "to_aware", "to_naive"]


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


def to_naive(moment: datetime) -> datetime:
    """An aware datetime as naive UTC; a naive one is refused, since its zone is unknown."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment}: an instant at an edge needs its time zone")
    return moment.astimezone(UTC).replace(tzinfo=None)


def to_aware(moment: datetime) -> datetime:
    """A stored (naive UTC) instant as an aware one."""
    return moment.replace(tzinfo=UTC)
