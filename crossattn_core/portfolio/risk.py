"""Trailing risk, from marks only: what was known at the decision row."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.days import HOURS_PER_YEAR
from crossattn_core.stats.returns import log_price_ratios

__all__ = ["annual_volatility", "hourly_variance"]


def hourly_variance(
    past_mark_TN: NDArray[np.float64], rows_D: NDArray[np.int64], hours: int, minimum_hours: int = 48
) -> NDArray[np.float64]:
    """(D, N) variance of an hour's log return over the ``hours`` rows up to each row of ``rows_D``, included.

    Mean of squared returns over grid hours: a stock's overnight move counts once, its closed hours count as zero,
    so that variance times hours is right for both calendars. NaN with fewer than ``minimum_hours`` known returns, and
    where the asset never moved.
    """
    return_TN = log_price_ratios(past_mark_TN)
    known_TN = np.isfinite(return_TN)
    # Each window is summed on its own (not as a difference of running sums), so that later rows cannot touch its bits.
    variance_DN = np.full((len(rows_D), past_mark_TN.shape[1]), np.nan)
    square_TN = np.where(known_TN, return_TN, 0.0) ** 2
    for decision, row in enumerate(rows_D):
        window = slice(max(0, row + 1 - hours), row + 1)
        count_N = known_TN[window].sum(axis=0)
        total_N = square_TN[window].sum(axis=0)
        enough_N = (count_N >= minimum_hours) & (total_N > 0)
        variance_DN[decision, enough_N] = total_N[enough_N] / count_N[enough_N]
    return variance_DN


def annual_volatility(past_mark_TN: NDArray[np.float64], weight_N: NDArray[np.float64]) -> float:
    """Annual volatility that a portfolio of these weights had over the rows given; 0 without returns."""
    portfolio_T = (np.nan_to_num(log_price_ratios(past_mark_TN)[1:]) * weight_N).sum(axis=1)
    return float(np.sqrt((portfolio_T**2).mean() * HOURS_PER_YEAR)) if len(portfolio_T) else 0.0
