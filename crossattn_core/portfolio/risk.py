"""Trailing risk, from marks only: what was known at the decision row."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.stats.returns import log_price_ratios

__all__ = ["annual_volatility", "bar_variance"]

MIN_RETURNS = 48
"""Known returns under which a variance is not known; fewer where the window itself is shorter."""


def bar_variance(past_mark_TN: NDArray[np.float64], rows_D: NDArray[np.int64], bars: int) -> NDArray[np.float64]:
    """(D, N) variance of a bar's log return over the ``bars`` rows up to each row of ``rows_D``, included.

    Mean of squared returns over the grid's rows: a stock's overnight move counts once, its closed rows count as zero,
    so that variance times bars is right for both calendars. NaN with fewer than ``MIN_RETURNS`` known returns, and
    where the asset never moved.
    """
    needed = min(MIN_RETURNS, bars)
    return_TN = log_price_ratios(past_mark_TN)
    known_TN = np.isfinite(return_TN)
    # Each window is summed on its own (not as a difference of running sums), so that later rows cannot touch its bits.
    variance_DN = np.full((len(rows_D), past_mark_TN.shape[1]), np.nan)
    square_TN = np.where(known_TN, return_TN, 0.0) ** 2
    for decision, row in enumerate(rows_D):
        window = slice(max(0, row + 1 - bars), row + 1)
        count_N = known_TN[window].sum(axis=0)
        total_N = square_TN[window].sum(axis=0)
        enough_N = (count_N >= needed) & (total_N > 0)
        variance_DN[decision, enough_N] = total_N[enough_N] / count_N[enough_N]
    return variance_DN


def annual_volatility(past_mark_TN: NDArray[np.float64], weight_N: NDArray[np.float64], bars_per_year: int) -> float:
    """Annual volatility that a portfolio of these weights had over the rows given; 0 without returns.

    Of bars at every grid: the window of a decision at minutes holds too few days.
    """
    portfolio_T = (np.nan_to_num(log_price_ratios(past_mark_TN)[1:]) * weight_N).sum(axis=1)
    return float(np.sqrt((portfolio_T**2).mean() * bars_per_year)) if len(portfolio_T) else 0.0
