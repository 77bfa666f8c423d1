"""Returns in units of the volatility known before them, and returns beside their own lags. Axes: T rows, N assets, L lags."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["MAX_DEVIATIONS", "beside_own_lags", "trailing_deviation", "volatility_scaled"]

MAX_DEVIATIONS = 4.0
"""Deviations at which a scaled return is cut (winsorised): a few wild bars must not be its variance."""
HALF_LIFE = 60.0
"""Known returns after which a square counts half in the trailing variance."""
_MIN_HISTORY = 30
"""Known returns before the first scaled one."""
_MIN_SHARE = 0.05
"""Of the variance of the whole past: what a run of bars without a change cannot take the trailing variance below."""


def trailing_deviation(return_TN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, N) root of the exponentially weighted mean square of each asset's known returns up to and including row t.

    In rows without a return it is the newest known one; NaN before there is enough history. RiskMetrics' estimator (J.P.
    Morgan, 1996) with the weights of a finite past.
    """
    decay = 0.5 ** (1 / HALF_LIFE)
    deviation_TN = np.full(return_TN.shape, np.nan)
    for n, value_T in enumerate(np.asarray(return_TN, dtype=np.float64).T):
        row_K = np.flatnonzero(np.isfinite(value_T))
        if len(row_K) < _MIN_HISTORY:
            continue
        square_K = value_T[row_K] ** 2
        weighted_K, weight_K = (np.asarray(lfilter([1.0], [1.0, -decay], of_K)) for of_K in (square_K, np.ones(len(row_K))))
        past_K = np.cumsum(square_K) / np.arange(1, len(row_K) + 1)
        deviation_K = np.sqrt(np.maximum(weighted_K / weight_K, _MIN_SHARE * past_K))
        deviation_K[: _MIN_HISTORY - 1] = np.nan
        newest_T = np.searchsorted(row_K, np.arange(len(value_T)), side="right") - 1
        deviation_TN[:, n] = np.where(newest_T >= 0, deviation_K[np.maximum(newest_T, 0)], np.nan)
    return deviation_TN


def volatility_scaled(return_TN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, N) returns over the ``trailing_deviation`` of the row before, cut at ``MAX_DEVIATIONS`` either way.

    NaN where there is no return or too little history. Row t depends on rows up to t alone.
    """
    before_TN = np.full(return_TN.shape, np.nan)
    before_TN[1:] = trailing_deviation(return_TN)[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled_TN = np.asarray(return_TN, dtype=np.float64) / before_TN
    return np.where(before_TN > 0, np.clip(scaled_TN, -MAX_DEVIATIONS, MAX_DEVIATIONS), np.nan)


def beside_own_lags(filled_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], lags: int) -> NDArray[np.float64]:
    """(T, N) residuals of a least-squares regression of each asset on its own last ``lags`` values; 0 where unknown.

    Args:
        filled_TN: centred values, 0 where unknown.
    """
    bars = len(filled_TN)
    residual_TN = np.zeros(filled_TN.shape)
    padded_TN = np.concatenate([np.zeros((lags, filled_TN.shape[1])), filled_TN])
    for n, known_T in enumerate(known_TN.T):
        # Column l - 1 of the window that ends before row t holds the value l bars back.
        own_TL = np.lib.stride_tricks.sliding_window_view(padded_TN[: bars + lags - 1, n], lags)[:, ::-1]
        own_KL, value_K = own_TL[known_T], filled_TN[known_T, n]
        if len(value_K) > 2 * lags:
            moment_LL = own_KL.T @ own_KL
            value_K = value_K - own_KL @ np.linalg.lstsq(moment_LL, own_KL.T @ value_K, rcond=None)[0]
        residual_TN[known_T, n] = value_K
    return residual_TN
