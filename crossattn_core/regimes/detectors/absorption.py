"""Correlation stress: how much of the universe's movement a few directions absorb.

Absorption ratio (Kritzman, Li, Page, Rigobon, "Principal Components as a Measure of Systemic Risk", 2011): the share
of the correlation matrix's trace in its largest fifth of eigenvalues. Near one, everything moves together and spreading
money over assets protects little.

Axes: D complete days, N assets.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.detectors.registry import DETECTORS, DetectedStates
from crossattn_core.regimes.detectors.volatility_terciles import expanding_terciles
from crossattn_core.regimes.market_days import MarketDays, return_products

__all__ = ["absorption", "absorption_ratio"]

_MIN_BARS = 24
"""Common bars under which a pair counts as uncorrelated."""


@DETECTORS.register("absorption")
def absorption(market: MarketDays, settings: RegimeSettings) -> DetectedStates:
    """Each day's absorption ratio in thirds of all ratios up to it; the last third is stress."""
    ratio_D = absorption_ratio(market, settings.correlation_days)
    return DetectedStates(ratio_D, expanding_terciles(ratio_D[:, None], settings.minimum_days, settings.rank_band).state_D)


def absorption_ratio(market: MarketDays, days: int) -> NDArray[np.float64]:
    """(D,) share of the trace in the largest fifth of eigenvalues over the trailing ``days``; NaN with under 3 assets.

    Correlations are pairwise, over bars in which both assets have a return; negative eigenvalues that this can
    leave are cut at zero.
    """
    product_DNN, square_DNN, count_DNN = return_products(market)
    ratio_D = np.full(len(product_DNN), np.nan)
    for d in range(days - 1, len(ratio_D)):
        window = slice(d - days + 1, d + 1)
        product_NN, square_NN, count_NN = (x_DNN[window].sum(axis=0) for x_DNN in (product_DNN, square_DNN, count_DNN))
        moves_N = np.diag(count_NN) >= _MIN_BARS
        if moves_N.sum() < 3:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation_NN = np.where(count_NN >= _MIN_BARS, product_NN / np.sqrt(square_NN * square_NN.T), 0.0)
        correlation_NN = np.nan_to_num(correlation_NN[np.ix_(moves_N, moves_N)])
        np.fill_diagonal(correlation_NN, 1.0)
        value_N = np.sort(np.maximum(np.linalg.eigvalsh(correlation_NN), 0.0))[::-1]
        ratio_D[d] = value_N[: -(-len(value_N) // 5)].sum() / value_N.sum()
    return ratio_D
