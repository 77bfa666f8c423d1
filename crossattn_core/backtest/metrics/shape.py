"""Shape and tails of daily returns."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.metrics.registry import metric
from crossattn_core.backtest.metrics.track import Track
from crossattn_core.backtest.performance import ratio

MIN_DAYS_OF_A_TAIL = 20
"""Days under which a 5% tail is not known."""


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


def _standardised_moment(day_return_D: NDArray[np.float64], power: int) -> float:
    deviation = float(np.std(day_return_D)) if len(day_return_D) else 0.0
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(((day_return_D - day_return_D.mean()) / deviation) ** power))
