"""Attention by content, one token an asset: the common base of ``last`` and ``pooled``.

Axes: B decision rows, N targets, M sources, D width, H heads, K head width.
"""

import math
from typing import Self

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import CrossAttention, allowed_sources, copy_head_rows, masked_softmax
from crossattn_core.model.shape import NetworkShape

__all__ = ["ContentAttention"]


class ContentAttention(CrossAttention):
    """Queries, keys and values of one token an asset; learned logits say which source a target prefers."""

    def __init__(self, assets: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.logit_HNM = nn.Parameter(torch.zeros(heads, assets, assets))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        # As in lag_bias: a diffuse softmax over the others averages independent values down.
        self._gain = math.sqrt(max(assets - 1, 1))

    @classmethod
    def build(cls, shape: NetworkShape, settings: ModelSettings) -> Self:
        return cls(shape.assets, settings.width, settings.heads)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNM]

    def share_values(self, first: int, second: int) -> None:
        copy_head_rows(self.value, self._heads, first, second)

    def attend(self, target_BND: Tensor, source_BMD: Tensor, fresh_BM: Tensor, readable_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, N, H, K) and weights (B, H, N, M); ``fresh_BM`` scales each source's value."""
        batch, assets, _ = target_BND.shape

        def by_head(flat_BND: Tensor) -> Tensor:
            return flat_BND.view(batch, assets, self._heads, -1).transpose(1, 2)

        query_BHNK, key_BHMK = by_head(self.query(target_BND)), by_head(self.key(source_BMD))
        value_BHMK = by_head(self.value(source_BMD) * fresh_BM[..., None])
        logit_BHNM = self.logit_HNM + query_BHNK @ key_BHMK.transpose(-2, -1) / math.sqrt(query_BHNK.shape[-1])
        weight_BHNM = masked_softmax(logit_BHNM, allowed_sources(readable_BM)[:, None])
        return self._gain * (weight_BHNM @ value_BHMK).transpose(1, 2), weight_BHNM
