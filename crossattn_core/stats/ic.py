"""Information coefficient: time-series correlation of forecast and outcome per asset, averaged over assets.

From the pairs themselves, or from six sums over them: sums of blocks add up, so a bootstrap draw is an addition.

Axes: T rows, N assets, X sets of sums (days, draws), K sums (n, x, y, xx, yy, xy).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_PAIRS", "ic_of_sums", "information_coefficient", "mean_ic", "mean_ic_of_sums", "mean_over_assets"]

MIN_PAIRS = 48
"""Pairs of forecast and outcome under which an asset has no IC."""


def information_coefficient(forecast_TN: NDArray[np.floating], outcome_TN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) correlation per asset over the rows in which both are finite; NaN with too few pairs or without variation."""
    known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TN)
    count_N = known_TN.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_TN = np.where(known_TN, forecast_TN, 0.0).astype(np.float64)
        y_TN = np.where(known_TN, outcome_TN, 0.0).astype(np.float64)
        x_TN = np.where(known_TN, x_TN - x_TN.sum(axis=0) / count_N, 0.0)
        y_TN = np.where(known_TN, y_TN - y_TN.sum(axis=0) / count_N, 0.0)
        ic_N = (x_TN * y_TN).sum(axis=0) / np.sqrt((x_TN**2).sum(axis=0) * (y_TN**2).sum(axis=0))
    return np.where((count_N >= MIN_PAIRS) & np.isfinite(ic_N), ic_N, np.nan)


def mean_ic(forecast_TN: NDArray[np.floating], outcome_TN: NDArray[np.floating]) -> float:
    """``information_coefficient`` averaged over the assets that have one; NaN where none has."""
    ic_N = information_coefficient(forecast_TN, outcome_TN)
    return float(mean_over_assets(ic_N[np.isfinite(ic_N)]))


def ic_of_sums(sums_XNK: NDArray[np.float64], *, min_spread: float = 0.0) -> NDArray[np.float64]:
    """(X, N) correlation of each set of sums.

    Args:
        min_spread: product of both variances (in the units of the sums) up to which an asset counts as not varying: sums
            of series scaled to the order of one separate rounding from variation.
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums_XNK, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (xx - x * x / n) * (yy - y * y / n)
        ic = (xy - x * y / n) / np.sqrt(spread)
    return np.where((n >= MIN_PAIRS) & (spread > min_spread * n * n) & np.isfinite(ic), ic, np.nan)


def mean_ic_of_sums(sums_XNK: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X,) ``ic_of_sums`` averaged over the assets that have one; NaN where none has."""
    return mean_over_assets(ic_of_sums(sums_XNK))


def mean_over_assets(ic_XN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X,) mean of the finite values over the last axis; NaN without any."""
    known_XN = np.isfinite(ic_XN)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known_XN, ic_XN, 0.0).sum(axis=-1) / known_XN.sum(axis=-1)
