"""Errors that hold under heteroscedasticity and autocorrelation: Newey and West (1987), with no lag White (1980).

Axes: T rows, K regressors.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_squares", "newey_west_variance"]


def newey_west_variance(series_T: NDArray[np.float64], lags: int) -> float:
    """Long-run variance of a series: autocovariances up to ``lags`` with Bartlett weights."""
    centred_T = series_T - series_T.mean()
    variance = float(centred_T @ centred_T) / len(series_T)
    for lag in range(1, min(lags, len(series_T) - 1) + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(centred_T[lag:] @ centred_T[:-lag]) / len(series_T)
    return variance


def least_squares(
    x_TK: NDArray[np.float64], y_T: NDArray[np.float64], *, lags: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(K,) coefficients of ``y_T`` on ``x_TK`` and their (K,) robust standard errors, without a small-sample correction.

    Collinear regressors share what they explain (the pseudo-inverse's solution).

    Args:
        lags: autocovariances of the scores that count, with Bartlett weights; 0 for White's errors.
    """
    moment_KK = x_TK.T @ x_TK
    full_rank = np.linalg.matrix_rank(moment_KK, hermitian=True) == len(moment_KK)
    inverse_KK = np.linalg.inv(moment_KK) if full_rank else np.linalg.pinv(moment_KK)
    coefficient_K = inverse_KK @ x_TK.T @ y_T
    score_TK = x_TK * (y_T - x_TK @ coefficient_K)[:, None]
    middle_KK = score_TK.T @ score_TK
    for lag in range(1, lags + 1):
        cross_KK = score_TK[lag:].T @ score_TK[:-lag]
        middle_KK = middle_KK + (1.0 - lag / (lags + 1.0)) * (cross_KK + cross_KK.T)
    return coefficient_K, np.sqrt(np.maximum(np.diag(inverse_KK @ middle_KK @ inverse_KK), 0.0))
