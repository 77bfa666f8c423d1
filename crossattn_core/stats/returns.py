"""Log returns from row to row, and returns about their mean. Axes: T rows, N assets."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["centred", "log_price_ratios", "log_returns"]


def log_returns(price_TN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, N) or (T,) log price less that of the row before; NaN in the first row and where either price is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log_price_TN = np.log(np.asarray(price_TN, dtype=np.float64))
    return np.diff(log_price_TN, axis=0, prepend=np.full((1, *log_price_TN.shape[1:]), np.nan))


def log_price_ratios(price_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log_returns`` as the log of one division: the last bits differ, and the risk behind stored weights is made of these."""
    return_TN = np.full(price_TN.shape, np.nan)
    return_TN[1:] = np.log(price_TN[1:] / price_TN[:-1])
    return return_TN


def centred(value_TN: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(T, N) values less the mean of each asset's known ones, 0 where unknown, and which are known."""
    known_TN = np.isfinite(value_TN)
    mean_N = np.where(known_TN, value_TN, 0.0).sum(axis=0) / np.maximum(known_TN.sum(axis=0), 1)
    return np.where(known_TN, value_TN - mean_N, 0.0), known_TN
