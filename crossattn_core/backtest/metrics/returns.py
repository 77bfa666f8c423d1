"""Return, risk and drawdown, from hourly returns."""

import numpy as np

from crossattn_core.backtest import performance
from crossattn_core.backtest.metrics.registry import metric
from crossattn_core.backtest.metrics.track import Track
from crossattn_core.days import HOURS_PER_YEAR

MIN_ROWS_OF_A_YEAR = 30 * 24
"""Rows under which a return is not scaled up to a year."""


@metric("days")
def days(track: Track) -> float:
    """Length of the series: rows with a return / 24."""
    return track.rows / 24.0


@metric("fraction", better="higher")
def net_return(track: Track) -> float:
    """Final equity / capital - 1."""
    return float(track.equity_T[-1] / track.capital - 1.0)


@metric("fraction", better="higher")
def gross_return(track: Track) -> float:
    """(Net profit + all costs paid) / capital: profit of the same positions had trading and holding been free; with dividends."""
    return net_return(track) + sum(track.paid.values())


@metric("fraction", better="higher")
def annual_return(track: Track) -> float:
    """(1 + net_return) ^ (8760 / rows) - 1; NaN for less than 30 days."""
    net = track.equity_T[-1] / track.capital - 1.0
    if track.rows < MIN_ROWS_OF_A_YEAR or net < -1.0:
        return float("nan")
    return float((1.0 + net) ** (HOURS_PER_YEAR / track.rows) - 1.0)


@metric("fraction", better="lower")
def annual_volatility(track: Track) -> float:
    """Standard deviation of hourly returns * sqrt(8760)."""
    return float(np.std(track.return_T, ddof=1) * np.sqrt(HOURS_PER_YEAR)) if track.rows > 1 else float("nan")


@metric("ratio", better="higher")
def sharpe(track: Track) -> float:
    """Mean / standard deviation of hourly returns * sqrt(8760); the riskless rate is taken as zero."""
    return performance.sharpe(track.return_T)


@metric("ratio", better="higher")
def sortino(track: Track) -> float:
    """Mean / root mean square of hourly losses, over all hours, * sqrt(8760)."""
    return performance.sortino(track.return_T)


@metric("ratio", better="higher")
def calmar(track: Track) -> float:
    """annual_return / |max_drawdown|."""
    return performance.ratio(annual_return(track), -max_drawdown(track))


@metric("fraction", better="higher")
def max_drawdown(track: Track) -> float:
    """Deepest fall of equity below its running maximum; at most 0."""
    return 0.0 if track.deepest_fall is None else track.deepest_fall.depth


@metric("hours", better="lower")
def max_drawdown_hours(track: Track) -> float:
    """Peak to recovery of the deepest fall; NaN while not recovered."""
    fall = track.deepest_fall
    return float("nan") if fall is None or fall.hours is None else float(fall.hours)
