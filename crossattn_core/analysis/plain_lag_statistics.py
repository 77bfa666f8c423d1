"""Plain lagged statistics of a large universe: they say which pairs the permutation test looks at, those that could pass.

The plain lagged correlation at the tested lags is a few matrix products; the nulls and partial statistics behind a p-value are
circular correlations of every shift, for each pair. A pair's p-value is never below the normal one of its plain statistic, so
a pair that fails by that fails. Axes: T bars, M leaders, L lags, K shapes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["MIN_PAIRS", "plain_statistics", "smallest_normal_p", "z_statistic"]

MIN_PAIRS = 100
"""Pairs of bars under which a statistic is unknown."""


def plain_statistics(
    x_TM: NDArray[np.float64], has_TM: NDArray[np.bool_], y_T: NDArray[np.float64], known_T: NDArray[np.bool_], max_lag: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(L, M) plain z, correlation and pairs of bars at the tested lags alone: a few matrix products, no circle."""
    ahead_TL, has_ahead_TL = np.zeros((len(y_T), max_lag)), np.zeros((len(y_T), max_lag))
    for lag in range(1, max_lag + 1):
        ahead_TL[:-lag, lag - 1], has_ahead_TL[:-lag, lag - 1] = y_T[lag:], known_T[lag:]
    has_TM = has_TM.astype(float)
    product_LM, square_LM = ahead_TL.T @ x_TM, (ahead_TL**2).T @ x_TM**2
    count_LM, energy_LM = has_ahead_TL.T @ has_TM, (has_ahead_TL.T @ x_TM**2) * ((ahead_TL**2).T @ has_TM)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation_LM = product_LM / np.sqrt(energy_LM)
    return z_statistic(product_LM, square_LM, count_LM), np.where(count_LM >= MIN_PAIRS - 0.5, correlation_LM, np.nan), count_LM


def smallest_normal_p(z_KLM: NDArray[np.float64], prior_LM: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) normal p-value of the best lag and shape, weighted by the prior over lags; 1 where nothing is tested."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p_KLM = 2 * stats.norm.sf(np.abs(z_KLM)) * len(z_KLM) / prior_LM
    return np.minimum(np.nan_to_num(p_KLM, nan=1.0, posinf=1.0), 1.0).min(axis=(0, 1))


def z_statistic(product: NDArray[np.float64], square: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of products over the root of the sum of their squares; NaN with under ``MIN_PAIRS`` pairs of bars."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = product / np.sqrt(np.maximum(square, 0.0))
    return np.where((count >= MIN_PAIRS - 0.5) & np.isfinite(z), z, np.nan)
