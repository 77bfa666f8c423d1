"""Which assets are neighbours: distance correlations between their volatilities, filtered to a planar graph.

G. Szekely, M. Rizzo, N. Bakirov, "Measuring and Testing Dependence by Correlation of Distances" (2007): 0 only for what is
independent, whatever the shape of the dependence. G. Massara, T. Di Matteo, T. Aste, "Network Filtering for Big Data:
Triangulated Maximally Filtered Graph" (2016): of N (N - 1) / 2 pairs it keeps 3 N - 6, the strongest that fit on a sphere.

Axes: T bars, S spans, N assets, M assets (the same).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["dependence_graph", "distance_correlation", "triangulated_filter"]

_MOST_SPANS = 512
"""Observations of each asset, at most: distances between all of them are held at once."""
_BARS = 24
"""Bars whose root mean square is one observation of volatility, at least."""


def dependence_graph(return_TN: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, M) symmetric: the triangulated filter of distance correlations between volatilities; every asset is its own neighbour.

    Args:
        return_TN: log returns of the bars that may be known, oldest first; 0 where there was none.
    """
    bars, assets = return_TN.shape
    span = max(_BARS, -(-bars // _MOST_SPANS))
    spans = max(bars // span, 1)
    volatility_SN = np.sqrt(np.square(return_TN[-spans * span :]).reshape(spans, -1, assets).mean(axis=1))
    return triangulated_filter(distance_correlation(volatility_SN)) | np.eye(assets, dtype=bool)


def distance_correlation(value_SN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) distance correlations in [0, 1]; 0 with an asset that does not vary."""
    distance_NSS = np.abs(value_SN.T[:, :, None] - value_SN.T[:, None])
    centred_NSS = distance_NSS - distance_NSS.mean(axis=1, keepdims=True) - distance_NSS.mean(axis=2, keepdims=True)
    centred_NSS += distance_NSS.mean(axis=(1, 2), keepdims=True)
    flat_NX = centred_NSS.reshape(len(centred_NSS), -1)
    covariance_NM = np.maximum(flat_NX @ flat_NX.T, 0.0)
    size_N = np.sqrt(np.diagonal(covariance_NM))
    scale_NM = size_N[:, None] * size_N
    return np.sqrt(np.divide(covariance_NM, scale_NM, out=np.zeros_like(covariance_NM), where=scale_NM > 0))


def triangulated_filter(strength_NM: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, M) edges of the triangulated maximally filtered graph; fewer than five assets are all joined.

    It starts from four strong assets and puts one asset after the other into the triangle that it has the strongest ties to.

    >>> int(triangulated_filter(np.ones((7, 7))).sum()) // 2  # 3 N - 6
    15
    """
    assets = len(strength_NM)
    if assets <= 4:
        return ~np.eye(assets, dtype=bool)
    above_NM = strength_NM * (strength_NM > strength_NM.mean())
    first = np.argsort(-above_NM.sum(axis=1), kind="stable")[:4].tolist()
    edge_NM = np.zeros((assets, assets), dtype=bool)
    edge_NM[np.ix_(first, first)] = True
    faces = [[first[i] for i in range(4) if i != left] for left in range(4)]
    gains = [strength_NM[:, face].sum(axis=1) for face in faces]
    outside_N = np.ones(assets, dtype=bool)
    outside_N[first] = False
    while outside_N.any():
        best = [np.where(outside_N, gain_N, -np.inf).max() for gain_N in gains]
        f = int(np.argmax(best))
        new, face = int(np.where(outside_N, gains[f], -np.inf).argmax()), faces[f]
        edge_NM[new, face] = edge_NM[face, new] = True
        outside_N[new] = False
        # The triangle becomes three.
        made = [[new, face[i], face[j]] for i, j in ((0, 1), (0, 2), (1, 2))]
        faces[f], gains[f] = made[0], strength_NM[:, made[0]].sum(axis=1)
        faces += made[1:]
        gains += [strength_NM[:, one].sum(axis=1) for one in made[1:]]
    np.fill_diagonal(edge_NM, False)
    return edge_NM
