"""Control of the false-discovery rate over many tests."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["benjamini_hochberg"]


def benjamini_hochberg(p_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) q-values: the smallest false-discovery rate at which each hypothesis is rejected (Benjamini and Hochberg, 1995).

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    order = np.argsort(p_K)
    ranked = p_K[order] * len(p_K) / np.arange(1, len(p_K) + 1)
    q_K = np.empty_like(p_K)
    q_K[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q_K
