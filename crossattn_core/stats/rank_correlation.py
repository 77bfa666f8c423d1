"""Spearman's rank correlation over known pairs."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["rank_correlation"]


def rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman over the places in which both are finite; NaN with fewer than 3 of them or where either does not vary."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return float("nan")
    # y first: the coefficient is symmetric but for its last bit, and this order gives the bits that are stored.
    return float(np.asarray(stats.spearmanr(y[known], x[known]))[0])
