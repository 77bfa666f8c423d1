"""Rules that turn one decision's edges into wanted weights; limits and the no-trade band come after (see sizing.py).

An edge is an expected log return over the trade horizon, net of carry; its risk is the variance over the same horizon.
``score`` = edge / standard deviation. Axis N: the assets that can be read and traded at this decision.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import PortfolioSettings

__all__ = ["COST_AWARE_RULES", "direct_weights", "zone"]

COST_AWARE_RULES = ("long_short", "long_only")
"""Rules with the cost of trading inside; the others want what their scores say, whatever it costs to get there."""


def zone(
    edge_N: NDArray[np.float64], variance_N: NDArray[np.float64], cost_N: NDArray[np.float64], settings: PortfolioSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds between which a position stays, as distances from the anchor; a zero edge keeps zero inside."""
    risk_N = settings.risk_aversion * variance_N
    open_N, close_N = cost_N * settings.cost_multiple, cost_N / settings.holding_horizons
    low_N = np.maximum((edge_N - open_N) / risk_N, np.minimum(0.0, (edge_N - close_N) / risk_N))
    high_N = np.minimum((edge_N + open_N) / risk_N, np.maximum(0.0, (edge_N + close_N) / risk_N))
    return np.minimum(low_N, high_N), np.maximum(low_N, high_N)


def direct_weights(
    edge_N: NDArray[np.float64], variance_N: NDArray[np.float64], settings: PortfolioSettings
) -> NDArray[np.float64]:
    """Wanted weights of ``softmax``, ``tanh`` or ``rank`` over the assets given.

    softmax: long only, fully invested (up to 1), shares in proportion to exp(score / temperature).
    tanh: tanh(score / temperature), scaled to the gross limit where it exceeds it, centred first if dollar-neutral.
    rank: the best ``bucket_share`` of assets long, the worst short, equal sizes, at the gross limit.
    """
    assets = len(edge_N)
    if not assets:
        return np.zeros(0)
    score_N = edge_N / np.sqrt(variance_N)
    if settings.rule == "softmax":
        power_N = np.exp((score_N - score_N.max()) / settings.temperature)
        return min(1.0, settings.gross) * power_N / power_N.sum()
    if settings.rule == "rank":
        bucket = max(1, int(settings.bucket_share * assets))
        order = np.argsort(score_N, kind="stable")
        weight_N = np.zeros(assets)
        if assets >= 2 * bucket:
            weight_N[order[-bucket:]] = settings.gross / (2 * bucket)
            weight_N[order[:bucket]] = -settings.gross / (2 * bucket)
        return weight_N
    weight_N = np.tanh(score_N / settings.temperature)
    if settings.dollar_neutral:
        weight_N = weight_N - weight_N.mean()
    return weight_N * min(1.0, settings.gross / max(float(np.abs(weight_N).sum()), 1e-300))
