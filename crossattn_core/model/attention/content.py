"""Attention by content, one token an asset: what the variants 'last' and 'pooled' have in common.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import CrossAttention, allowed_sources, masked_softmax
from crossattn_core.model.attention.row_chunks import in_row_chunks
from crossattn_core.model.shape import NetworkShape

__all__ = ["ContentAttention"]


class ContentAttention(CrossAttention):
    """Queries, keys and values of one token an asset; learned logits mark which source a target prefers."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        assets, width, heads = shape.assets, settings.width, settings.heads
        self.logit_HNM = nn.Parameter(torch.zeros(heads, assets, assets))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        # The softmax is over assets alone.
        self._gain = math.sqrt(max(assets - 1, 1))

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNM]

    def attend(self, token_BMD: Tensor, fresh_BM: Tensor, readable_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, N, H, K) and weights (B, H, N, M); ``fresh_BM`` scales each source's value."""
        query_BHNK, key_BHMK, value_BHMK = self._rows(token_BMD, fresh_BM)
        weight_BHNM = self._weights(query_BHNK, key_BHMK, readable_BM)
        return self._gain * (weight_BHNM @ value_BHMK).transpose(1, 2), weight_BHNM

    def context_of(self, token_BMD: Tensor, fresh_BM: Tensor, readable_BM: Tensor) -> Tensor:
        """The context of ``attend`` alone, (B, N, H, K)."""

        def mix(query_BHNK: Tensor, key_BHMK: Tensor, value_BHMK: Tensor, readable_BM: Tensor) -> Tensor:
            return self._gain * (self._weights(query_BHNK, key_BHMK, readable_BM) @ value_BHMK)

        rows = (*self._rows(token_BMD, fresh_BM), readable_BM)
        return in_row_chunks(mix, *rows, logits_per_row=self.logit_HNM.numel()).transpose(1, 2)

    def _rows(self, token_BMD: Tensor, fresh_BM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values_BMD = self.value(token_BMD) * fresh_BM[..., None]
        return self.by_head(self.query(token_BMD)), self.by_head(self.key(token_BMD)), self.by_head(values_BMD)

    def _weights(self, query_BHNK: Tensor, key_BHMK: Tensor, readable_BM: Tensor) -> Tensor:
        logit_BHNM = self.logit_HNM + query_BHNK @ key_BHMK.transpose(-2, -1) / math.sqrt(query_BHNK.shape[-1])
        return masked_softmax(logit_BHNM, allowed_sources(readable_BM)[:, None])
