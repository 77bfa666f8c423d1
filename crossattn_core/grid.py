"""The grid: the rows that every table and array has, one a bar, counted from midnight UTC.

Partitions are days whatever the bar is. A knob that means a time (hours, days) is turned into bars here; one that
means a lag is a number of bars as it stands.
"""

import math
from datetime import date, datetime, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

__all__ = ["HOURLY", "BarName", "Grid", "bar_names"]

BarName = Literal["1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d"]
_MINUTES: dict[str, int] = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
_BAR_OF: dict[int, BarName] = {_MINUTES[bar]: bar for bar in get_args(BarName)}
_EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


def bar_names() -> tuple[BarName, ...]:
    """Every bar that a grid can have, shortest first."""
    return get_args(BarName)


class Grid(BaseModel):
    """Rows at whole multiples of one bar since midnight UTC, all day, every day."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    bar: BarName = "1h"
    """Length of a bar: 1m, 3m, 5m, 15m, 30m, 1h, 4h or 1d."""

    @classmethod
    def of(cls, step: timedelta) -> "Grid":
        """The grid whose bar lasts ``step``; KeyError where there is none."""
        return cls(bar=_BAR_OF[step // timedelta(minutes=1)])

    @property
    def step(self) -> timedelta:
        """Length of a bar."""
        return timedelta(minutes=_MINUTES[self.bar])

    @property
    def step_us(self) -> np.timedelta64:
        """Length of a bar as numpy's microseconds."""
        return np.timedelta64(_MINUTES[self.bar] * 60_000_000, "us")

    @property
    def hours_per_bar(self) -> float:
        """Length of a bar, hours."""
        return _MINUTES[self.bar] / 60

    @property
    def bars_per_day(self) -> int:
        """Rows of one partition."""
        return 1440 // _MINUTES[self.bar]

    @property
    def bars_per_week(self) -> int:
        """Rows of seven days."""
        return 7 * self.bars_per_day

    @property
    def bars_per_year(self) -> int:
        """Rows of 365 days: what a series of bars is annualised by.

        >>> Grid(bar="1h").bars_per_year, Grid(bar="1m").bars_per_year, Grid(bar="1d").bars_per_year
        (8760, 525600, 365)
        """
        return 365 * self.bars_per_day

    @property
    def block_bars(self) -> int:
        """Bars of a trailing volatility, and of a block in a bootstrap over bars: a week's; a day's under an hour, four weeks'
        of daily bars.

        >>> [Grid(bar=bar).block_bars for bar in ("1m", "1h", "4h", "1d")]
        [1440, 168, 42, 28]
        """
        if self.bars_per_day == 1:
            return 28
        return self.bars_per_week if self.bars_per_day <= 24 else self.bars_per_day

    @property
    def season_bars(self) -> int:
        """Bars after which hours of the same kind come round: a week, a day where bars are shorter than an hour.

        >>> [Grid(bar=bar).season_bars for bar in ("1m", "1h", "4h", "1d")]
        [1440, 168, 42, 7]
        """
        return self.bars_per_week if self.bars_per_day <= 24 else self.bars_per_day

    def bars(self, duration: timedelta | float) -> int:
        """Bars that cover a duration (a number is hours), rounded up; at least one for anything above zero.

        >>> Grid(bar="5m").bars(2), Grid(bar="1d").bars(96), Grid(bar="1d").bars(1), Grid(bar="1h").bars(timedelta(0))
        (24, 4, 1, 0)
        """
        span = duration if isinstance(duration, timedelta) else timedelta(hours=duration)
        return math.ceil(span / self.step)

    def duration(self, bars: int) -> timedelta:
        """How long so many bars last."""
        return bars * self.step

    def rows(self, first: date, last: date) -> NDArray[np.datetime64]:
        """Rows ``as_of`` of the days first..last: naive UTC ``datetime64[us]``, one bar after first 00:00 to last+1 00:00.

        >>> rows = Grid(bar="1h").rows(date(2025, 3, 1), date(2025, 3, 1))
        >>> len(rows), str(rows[0]), str(rows[-1])
        (24, '2025-03-01T01:00:00.000000', '2025-03-02T00:00:00.000000')
        """
        start = np.datetime64(first, "us") + self.step_us
        return start + np.arange(((last - first).days + 1) * self.bars_per_day) * self.step_us

    def row_of(self, instant: datetime | NDArray[np.datetime64] | np.datetime64) -> NDArray[np.datetime64]:
        """The row whose bar (row - bar, row] holds each instant: the first at or after it, naive UTC.

        >>> str(Grid(bar="5m").row_of(datetime(2025, 3, 1, 10, 1)))
        '2025-03-01T10:05:00.000000'
        """
        since = np.asarray(instant, dtype="datetime64[us]") - _EPOCH
        return _EPOCH - (-since // self.step_us) * self.step_us

    def position(self, instant: NDArray[np.datetime64], first: np.datetime64) -> NDArray[np.int64]:
        """Number of each row, counted from the row ``first``."""
        return (instant.astype("datetime64[us]") - first) // self.step_us

    def words(self, bars: int = 1) -> str:
        """So many bars in words, as a time.

        >>> Grid(bar="5m").words(3), Grid(bar="1h").words(), Grid(bar="4h").words(12), Grid(bar="30m").words(3)
        ('15 minutes', '1 hour', '2 days', '90 minutes')
        """
        minutes = bars * _MINUTES[self.bar]
        for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
            if minutes % length == 0 and minutes >= length:
                count = minutes // length
                return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
        return "no time"

    def label(self, bars: int) -> str:
        """So many bars in short, for tables: in days where the bar is one, in hours where they are whole, else in minutes.

        >>> Grid(bar="1h").label(48), Grid(bar="5m").label(3), Grid(bar="5m").label(24), Grid(bar="1d").label(7)
        ('48 h', '15 min', '2 h', '7 d')
        """
        minutes = bars * _MINUTES[self.bar]
        if self.bar == "1d":
            return f"{bars} d"
        return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


HOURLY = Grid(bar="1h")
"""The default grid."""
