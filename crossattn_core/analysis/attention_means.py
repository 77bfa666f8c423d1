"""Attention averaged over rows and heads, a few rows at a time: of a model over candidate pairs, of those pairs alone.

Axes: R rows, H heads, N targets, M sources, L lags, K candidate pairs, X either (M, L) or (K,).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossattn_core.families.fitted import AttentionWeights, CandidateWeights, FittedModel, heads_that_serve
from crossattn_core.panel.panel import Panel

__all__ = ["MeanAttention", "mean_attention", "means_of"]

_MAX_WEIGHTS, _MAX_ASKED = 2**25, 2**29
"""Weights that are summed up at once, 128 MB of them, and that a model is asked for at once, 2 GB; or one row's."""


class MeanAttention(NamedTuple):
    """The means, of which assets and lags."""

    asset_ids: tuple[str, ...]
    lead_bars_L: NDArray[np.int64]
    weight_NML: NDArray[np.float32]
    """Over rows and heads; a target's weights sum to one, or are all zero where it never read."""
    entropy_H: NDArray[np.float64]
    """Share of the largest possible entropy; NaN where nothing was read."""


def mean_attention(model: FittedModel, panel: Panel, rows: NDArray[np.int64], output: str) -> MeanAttention | None:
    """What the heads that serve ``output`` read at ``rows``; none for a family without attention.

    A few rows at a time where all their weights would not fit. Of a model over candidate pairs only the means are spelled out.
    """
    none = model.candidate_attention(panel, rows[:0])
    attend = model.attention if none is None else model.candidate_attention
    none = model.attention(panel, rows[:0]) if none is None else none
    if none is None:
        return None
    heads = heads_that_serve(output, none.serves_H)
    sums = _Sums.of(_weight_RHNX(none)[:, heads])
    a_row = max(int(np.prod(_weight_RHNX(none).shape[1:])), 1)
    asked, at_once = max(1, _MAX_ASKED // a_row), max(1, _MAX_WEIGHTS // a_row)
    for start in range(0, len(rows), asked):
        weights = attend(panel, rows[start : start + asked])
        if weights is None:
            continue
        weight_RHNX = _weight_RHNX(weights)
        count = len(weight_RHNX)
        if count > at_once and weight_RHNX.strides[0] == 0:
            # All rows read alike: one speaks for them.
            sums = sums.plus(_Sums.of(weight_RHNX[:1, heads]).times(count))
            continue
        for first in range(0, count, at_once):
            sums = sums.plus(_Sums.of(weight_RHNX[first : first + at_once, heads]))
    return sums.means(none)


def means_of(weights: AttentionWeights, output: str) -> MeanAttention:
    """The same of weights that there are."""
    return _Sums.of(weights.heads_serving(output)).means(weights)


def _weight_RHNX(weights: AttentionWeights | CandidateWeights) -> NDArray[np.float32]:
    return weights.weight_RHNK if isinstance(weights, CandidateWeights) else weights.weight_RHNML


@dataclass(frozen=True)
class _Sums:
    """Of attention over rows and heads; pairs X are (M, L), or the candidates (K,)."""

    weight_NX: NDArray[np.float64]
    rows_N: NDArray[np.int64]
    """Rows and heads that read."""
    entropy_H: NDArray[np.float64]
    known_H: NDArray[np.int64]
    """Rows and targets whose entropy is known."""

    @classmethod
    def of(cls, used_RHNX: NDArray[np.float32]) -> "_Sums":
        weight_RHNX, pairs = used_RHNX.astype(np.float64), tuple(range(3, used_RHNX.ndim))
        rows_N = (weight_RHNX.sum(axis=pairs) > 0).sum(axis=(0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            surprise_RHNX = np.where(weight_RHNX > 0, -weight_RHNX * np.log(weight_RHNX), 0.0)
            largest_RHN = np.log((weight_RHNX > 0).sum(axis=pairs))
            share_RHN = np.where(largest_RHN > 0, surprise_RHNX.sum(axis=pairs) / largest_RHN, np.nan)
        known_RHN = np.isfinite(share_RHN)
        entropy_H = np.where(known_RHN, share_RHN, 0.0).sum(axis=(0, 2))
        return cls(weight_RHNX.sum(axis=(0, 1)), rows_N, entropy_H, known_RHN.sum(axis=(0, 2)))

    def times(self, rows: int) -> "_Sums":
        """Of so many rows like these."""
        return _Sums(rows * self.weight_NX, rows * self.rows_N, rows * self.entropy_H, rows * self.known_H)

    def plus(self, other: "_Sums") -> "_Sums":
        """Of the rows of both."""
        return _Sums(
            self.weight_NX + other.weight_NX,
            self.rows_N + other.rows_N,
            self.entropy_H + other.entropy_H,
            self.known_H + other.known_H,
        )

    def means(self, weights: AttentionWeights | CandidateWeights) -> MeanAttention:
        """``weights`` says of which assets, lags and candidates."""
        mean_NX = (self.weight_NX.T / np.maximum(self.rows_N, 1)).T
        weight_NML = weights.over_every_pair(mean_NX) if isinstance(weights, CandidateWeights) else mean_NX.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy_H = self.entropy_H / self.known_H
        return MeanAttention(weights.asset_ids, weights.lead_bars_L, weight_NML, entropy_H)
