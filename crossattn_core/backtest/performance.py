"""Ratios, falls and days of a net return series.

Returns are simple and net of costs, one a row. Ratios, volatilities and their errors are of ``period_returns``: of bars from an
hour up, and of days where bars are shorter, in which bounce and stale prices would pass for risk. A quantity that a series cannot
give (zero volatility, no loss) is NaN, never zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.simulation import Simulation
from crossattn_core.grid import Grid

__all__ = [
    "Drawdown",
    "daily_returns",
    "drawdowns",
    "period_returns",
    "periods_per_day",
    "ratio",
    "returns_by_day",
    "returns_by_period",
    "sharpe",
    "sortino",
    "underwater",
]


def periods_per_day(grid: Grid) -> int:
    """How many of ``period_returns`` a day has; 365 times that is what they are annualised by.

    >>> [periods_per_day(Grid(bar=bar)) for bar in ("1m", "30m", "1h", "4h", "1d")]
    [1, 1, 24, 6, 1]
    """
    return grid.bars_per_day if grid.hours_per_bar >= 1 else 1


def period_returns(
    as_of_T: NDArray[np.datetime64], return_T: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """(P,) newest row and simple return of each period that ratios are taken of.

    Periods are the rows themselves from an hour up; under an hour UTC days, compounded, of which the first and the last may be
    parts: day D holds the rows in (D 00:00, D+1 00:00].
    """
    if periods_per_day(grid) == grid.bars_per_day or not len(return_T):
        return as_of_T, return_T
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    first_P = np.flatnonzero(np.append(True, day_T[1:] != day_T[:-1]))
    last_P = np.append(first_P[1:], len(day_T)) - 1
    return as_of_T[last_P], np.multiply.reduceat(1.0 + return_T, first_P) - 1.0


def returns_by_period(simulation: Simulation) -> NDArray[np.float64]:
    """(P,) ``period_returns`` of a simulation, from the row after its first decision on."""
    return period_returns(simulation.as_of_T[1:], simulation.return_T[1:], simulation.market.grid)[1]


def sharpe(return_P: NDArray[np.float64], periods_per_year: float) -> float:
    """Mean / standard deviation (ddof 1) * sqrt(periods a year); the riskless rate is taken as zero. NaN without volatility."""
    deviation = float(np.std(return_P, ddof=1)) if len(return_P) > 1 else 0.0
    # Rounding leaves a constant series a deviation of ~1e-19: no volatility all the same.
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(return_P)) / deviation * float(np.sqrt(periods_per_year))


def sortino(return_P: NDArray[np.float64], periods_per_year: float) -> float:
    """Mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods a year), the downside about zero over all observations (Sortino, 1994)."""
    downside = float(np.sqrt(np.mean(np.minimum(return_P, 0.0) ** 2))) if len(return_P) else 0.0
    return float(np.mean(return_P)) / downside * float(np.sqrt(periods_per_year)) if downside > 1e-14 else float("nan")


def underwater(equity_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) equity / its running maximum - 1; the starting capital counts as the first maximum."""
    return equity_T / np.maximum.accumulate(equity_T) - 1.0


@dataclass(frozen=True)
class Drawdown:
    """One fall from a peak. Rows: the peak, the trough, and the recovery (None while under water)."""

    depth: float
    peak: int
    trough: int
    recovered: int | None

    @property
    def rows(self) -> int | None:
        """Rows from peak to recovery; None while under water."""
        return None if self.recovered is None else self.recovered - self.peak


def drawdowns(equity_T: NDArray[np.float64], deepest: int = 5) -> list[Drawdown]:
    """The ``deepest`` falls that do not overlap, deepest first."""
    depth_T = underwater(equity_T)
    below_T = depth_T < 0
    edge = np.flatnonzero(np.diff(np.concatenate([[False], below_T, [False]]).astype(np.int8)))
    begin_F, end_F = edge[::2], edge[1::2]
    if not len(begin_F):
        return []
    # Rows between two falls are at zero: the least of the rows up to the next fall is the fall's own.
    depth_F = np.minimum.reduceat(depth_T, begin_F)
    falls = []
    for place in np.argsort(depth_F, kind="stable")[:deepest]:
        begin, end = int(begin_F[place]), int(end_F[place])
        trough = begin + int(np.argmin(depth_T[begin:end]))
        falls.append(Drawdown(float(depth_T[trough]), begin - 1, trough, end if end < len(equity_T) else None))
    return falls


def daily_returns(simulation: Simulation) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Days and their simple net returns; day D holds the rows in (D 00:00, D+1 00:00]."""
    return returns_by_day(simulation.as_of_T, simulation.equity_T, simulation.capital)


def returns_by_day(
    as_of_T: NDArray[np.datetime64], equity_T: NDArray[np.float64], capital: float
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Days and the simple return of each, from equity (T,) that starts at ``capital``; 0 once nothing is left."""
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    last = np.flatnonzero(np.append(day_T[1:] != day_T[:-1], True))
    equity = np.concatenate([[capital], equity_T[last]])
    day_return = np.divide(equity[1:] - equity[:-1], equity[:-1], out=np.zeros(len(last)), where=equity[:-1] > 0)
    return day_T[last], day_return


def ratio(above: float, below: float) -> float:
    """``above`` / ``below``; NaN unless ``below`` is positive and ``above`` finite."""
    return above / below if below > 0 and np.isfinite(above) else float("nan")
