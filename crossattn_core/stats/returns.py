"""Log returns from row to row. Axes: T rows, N assets."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_price_ratios", "log_returns"]


def log_returns(price_TN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, N) or (T,) log price less that of the row before; NaN in the first row and where either price is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log_price_TN = np.log(np.asarray(price_TN, dtype=np.float64))
    return np.diff(log_price_TN, axis=0, prepend=np.full((1, *log_price_TN.shape[1:]), np.nan))


def log_price_ratios(price_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log_returns`` as the log of one division instead of a difference of two logs.

    The last bits differ, and risk estimates that stored weights rest on are made of these.
    """
    return_TN = np.full(price_TN.shape, np.nan)
    return_TN[1:] = np.log(price_TN[1:] / price_TN[:-1])
    return return_TN
