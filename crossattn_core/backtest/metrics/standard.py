"""The metrics of every account: return and drawdown of rows, risk of periods, shape and tails of days, turnover, costs."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest import performance
from crossattn_core.backtest.metrics.registry import metric
from crossattn_core.backtest.metrics.track import Track
from crossattn_core.backtest.performance import ratio

MIN_DAYS_OF_A_YEAR = 30
"""Days under which a return is not scaled up to a year."""
MIN_DAYS_OF_A_TAIL = 20
"""Days under which a 5% tail is not known."""


@metric("days")
def days(track: Track) -> float:
    """Length of the series: rows with a return / rows a day."""
    return track.days


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
    """(1 + net_return) ^ (rows a year / rows) - 1; NaN for less than 30 days."""
    net = track.equity_T[-1] / track.capital - 1.0
    if track.days < MIN_DAYS_OF_A_YEAR or net < -1.0:
        return float("nan")
    return float((1.0 + net) ** (track.grid.bars_per_year / track.rows) - 1.0)


@metric("fraction", better="lower")
def annual_volatility(track: Track) -> float:
    """Standard deviation of returns of rows, under an hour of days, * sqrt(how many a year has)."""
    return_P = track.period_return_P
    return float(np.std(return_P, ddof=1) * np.sqrt(track.periods_per_year)) if len(return_P) > 1 else float("nan")


@metric("ratio", better="higher")
def sharpe(track: Track) -> float:
    """Mean / standard deviation of returns of rows, under an hour of days, annualised; the riskless rate is taken as zero."""
    return performance.sharpe(track.period_return_P, track.periods_per_year)


@metric("ratio", better="higher")
def sortino(track: Track) -> float:
    """Mean / root mean square of losses of rows, under an hour of days, over all of them, annualised."""
    return performance.sortino(track.period_return_P, track.periods_per_year)


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
    return float("nan") if fall is None or fall.rows is None else fall.rows * track.grid.hours_per_bar


@metric("fraction", better="lower")
def value_at_risk(track: Track) -> float:
    """Daily loss that 5% of days exceed, empirical, as a positive share; NaN for less than 20 days."""
    day_return_D = track.day_return_D
    return float("nan") if len(day_return_D) < MIN_DAYS_OF_A_TAIL else -float(np.percentile(day_return_D, 5.0))


@metric("fraction", better="lower")
def expected_shortfall(track: Track) -> float:
    """Mean daily loss of the days at or beyond ``value_at_risk``."""
    day_return_D = track.day_return_D
    if len(day_return_D) < MIN_DAYS_OF_A_TAIL:
        return float("nan")
    return -float(day_return_D[day_return_D <= float(np.percentile(day_return_D, 5.0))].mean())


@metric("ratio", better="higher")
def skew(track: Track) -> float:
    """Skewness of daily returns, biased moment estimate."""
    return _standardised_moment(track.day_return_D, 3)


@metric("ratio", better="lower")
def kurtosis(track: Track) -> float:
    """Kurtosis of daily returns, biased moment estimate; 3 for a normal law."""
    return _standardised_moment(track.day_return_D, 4)


@metric("fraction", better="higher")
def hit_rate(track: Track) -> float:
    """Share of days with a profit among days with any profit or loss."""
    return ratio(float((track.day_return_D > 0).sum()), float((track.day_return_D != 0).sum()))


@metric("ratio", better="higher")
def profit_factor(track: Track) -> float:
    """Sum of daily gains / sum of daily losses."""
    day_return_D = track.day_return_D
    return ratio(float(day_return_D[day_return_D > 0].sum()), float(-day_return_D[day_return_D < 0].sum()))


@metric("ratio", better="higher")
def tail_ratio(track: Track) -> float:
    """95th percentile of daily returns / |5th|."""
    return ratio(float(np.percentile(track.day_return_D, 95)), abs(float(np.percentile(track.day_return_D, 5))))


@metric("fraction", better="lower")
def turnover_per_day(track: Track) -> float:
    """Mean over days of sum |trade| / equity."""
    return float(track.turnover_T.sum()) / track.rows * track.grid.bars_per_day if track.rows else float("nan")


@metric("fraction", better="lower")
def turnover_per_year(track: Track) -> float:
    """The same over the 365 days of a year."""
    return float(track.turnover_T.sum()) / track.rows * track.grid.bars_per_year if track.rows else float("nan")


@metric("fraction")
def average_gross_exposure(track: Track) -> float:
    """Mean over rows of sum |weight|."""
    return float(track.gross_T.mean())


@metric("fraction")
def average_net_exposure(track: Track) -> float:
    """Mean over rows of the sum of weights."""
    return float(track.net_T.mean())


@metric("count")
def trades(track: Track) -> int:
    """Trades of one asset at one fill."""
    return track.trades


@metric("count", better="lower")
def margin_calls(track: Track) -> int:
    """Rows at whose end gross exposure exceeded the margin."""
    return track.margin_calls


@metric("flag", better="lower")
def ruined(track: Track) -> bool:
    """Whether equity reached zero."""
    return track.ruined


@metric("fraction", better="lower")
def cost_share(track: Track) -> float:
    """All costs paid / capital."""
    return sum(track.paid.values())


def _standardised_moment(day_return_D: NDArray[np.float64], power: int) -> float:
    deviation = float(np.std(day_return_D)) if len(day_return_D) else 0.0
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(((day_return_D - day_return_D.mean()) / deviation) ** power))
