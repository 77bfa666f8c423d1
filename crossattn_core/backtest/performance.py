"""Ratios, falls and days of a net return series.

Returns are simple and net of costs, one per row of the hourly grid, so that a year has 8,760 of them. A quantity that a
series cannot give (zero volatility, no loss) is NaN, never zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.simulation import Simulation
from crossattn_core.days import HOURS_PER_YEAR

__all__ = ["Drawdown", "daily_returns", "drawdowns", "ratio", "returns_by_day", "sharpe", "sortino", "underwater"]


def sharpe(return_T: NDArray[np.float64], periods: float = HOURS_PER_YEAR) -> float:
    """Mean / standard deviation (ddof 1) * sqrt(periods); the riskless rate is taken as zero. NaN without volatility."""
    deviation = float(np.std(return_T, ddof=1)) if len(return_T) > 1 else 0.0
    # Rounding leaves a constant series a deviation of ~1e-19: no volatility all the same.
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(return_T)) / deviation * float(np.sqrt(periods))


def sortino(return_T: NDArray[np.float64], periods: float = HOURS_PER_YEAR) -> float:
    """Mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods), the downside about zero over all observations (Sortino, 1994)."""
    downside = float(np.sqrt(np.mean(np.minimum(return_T, 0.0) ** 2))) if len(return_T) else 0.0
    return float(np.mean(return_T)) / downside * float(np.sqrt(periods)) if downside > 1e-14 else float("nan")


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
    def hours(self) -> int | None:
        """Hours from peak to recovery; None while under water."""
        return None if self.recovered is None else self.recovered - self.peak


def drawdowns(equity_T: NDArray[np.float64], deepest: int = 5) -> list[Drawdown]:
    """The ``deepest`` falls that do not overlap, deepest first."""
    depth_T = underwater(equity_T)
    below_T = depth_T < 0
    edge = np.flatnonzero(np.diff(np.concatenate([[False], below_T, [False]]).astype(np.int8)))
    falls = []
    for begin, end in zip(edge[::2], edge[1::2], strict=True):
        trough = int(begin + np.argmin(depth_T[begin:end]))
        falls.append(Drawdown(float(depth_T[trough]), int(begin) - 1, trough, int(end) if end < len(equity_T) else None))
    return sorted(falls, key=lambda fall: fall.depth)[:deepest]


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
