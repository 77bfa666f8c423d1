"""Limits on weights, met by exact projection: the nearest weights that obey them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["project"]


def project(wanted_N: NDArray[np.float64], cap_N: NDArray[np.float64], gross: float) -> NDArray[np.float64]:
    """The weights nearest to ``wanted_N`` (least squares) with |w| <= ``cap_N`` and sum |w| <= ``gross``.

    Signs are kept. The solution is sign(w) * clip(|w| - lambda, 0, cap) with the smallest lambda >= 0 that meets
    the gross limit; lambda is found exactly among the breakpoints of that piecewise-linear sum.

    >>> project(np.array([0.6, -0.5, 0.1]), np.full(3, 0.4), 0.7).round(3).tolist()
    [0.4, -0.3, 0.0]
    """
    size_N = np.abs(wanted_N)
    capped_N = np.minimum(size_N, cap_N)
    if capped_N.sum() <= gross:
        return np.sign(wanted_N) * capped_N
    # The sum falls from its capped value to 0 as lambda grows; between breakpoints it is linear.
    breaks = np.unique(np.concatenate([np.zeros(1), np.maximum(size_N - cap_N, 0.0), size_N]))
    sum_at = np.clip(size_N[None, :] - breaks[:, None], 0.0, cap_N[None, :]).sum(axis=1)
    below = int(np.argmax(sum_at <= gross))
    high, low = sum_at[below - 1], sum_at[below]
    shift = breaks[below - 1] + (breaks[below] - breaks[below - 1]) * (high - gross) / (high - low)
    return np.sign(wanted_N) * np.clip(size_N - shift, 0.0, cap_N)
