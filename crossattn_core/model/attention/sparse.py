"""Lag-bias attention that reads only its k strongest sources: every other weight is exactly zero.

Axes: N targets, M sources, L lags, H heads, Z batch or 1 or distinct masks.
"""

import torch
from torch import Tensor

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention, candidate_pairs
from crossattn_core.model.attention.lag_bias import LagBiasAttention
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.row_masks import RowMasks

__all__ = ["SparseLagAttention"]


@ATTENTION.register("sparse")
class SparseLagAttention(LagBiasAttention):
    """Each head keeps, per target, the ``top_sources`` assets with the largest learned mass over all lags."""

    has_value_width = False
    shares_exponential = False

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self._sources = min(settings.top_sources, max(shape.assets - 1, 1))

    @classmethod
    def of(cls, shape: NetworkShape, settings: ModelSettings) -> CrossAttention:
        pairs = candidate_pairs(settings, shape.assets)
        if pairs is None:
            return cls(shape, settings)
        return CandidatePairAttention(shape, settings, pairs, top_sources=settings.top_sources)

    def _weights_by_mask(self, tokens: AssetTokens) -> tuple[Tensor, RowMasks | None]:
        weight_ZHNLM, masks = super()._weights_by_mask(tokens)
        # Chosen by mass among what is readable.
        mass_ZHNM = weight_ZHNLM.detach().sum(dim=-2)
        chosen_ZHNS = mass_ZHNM.topk(self._sources, dim=-1).indices
        kept_ZHNM = torch.zeros_like(mass_ZHNM).scatter_(-1, chosen_ZHNS, 1.0)
        kept_ZHNLM = weight_ZHNLM * kept_ZHNM.unsqueeze(-2)
        sparse_ZHNLM = kept_ZHNLM / kept_ZHNLM.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
        # Straight through: used sparse, learnt dense, or a source that was dropped early could never come back.
        return (weight_ZHNLM + (sparse_ZHNLM - weight_ZHNLM).detach() if self.training else sparse_ZHNLM), masks
