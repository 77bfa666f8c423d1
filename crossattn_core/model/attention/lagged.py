"""Attention lag by lag: a share per source times a share per lag, a low-rank form of one softmax over both.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, S = L * M pairs, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources, masked_softmax
from crossattn_core.model.attention.row_chunks import in_row_chunks
from crossattn_core.model.shape import NetworkShape

__all__ = ["LaggedAttention"]


@ATTENTION.register("lagged")
class LaggedAttention(CrossAttention):
    """At each lag the newest token attends to the others' tokens of that bar; a learned mixture over lags weighs the results.

    Content alone must learn from noise who leads; a learned logit per (target, source), alike at every lag, lets it.
    """

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        assets, lags, width, heads = shape.assets, settings.max_lag, settings.width, settings.heads
        self.mixture_HNL = nn.Parameter(torch.zeros(heads, assets, lags))
        self.source_HNM = nn.Parameter(torch.zeros(heads, assets, assets))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.mixture_HNL, self.source_HNM]

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        query_BHNK, key_BHSK, value_BHSK = self._rows(tokens)
        mixed_BHNLM = self._weights(query_BHNK, key_BHSK, tokens.bars.readable_BN)
        context_BHNK = self._gain * (mixed_BHNLM.flatten(3) @ value_BHSK)
        return context_BHNK.transpose(1, 2), mixed_BHNLM.transpose(-2, -1)

    def context(self, tokens: AssetTokens) -> Tensor:
        def attend(query_BHNK: Tensor, key_BHSK: Tensor, value_BHSK: Tensor, readable_BM: Tensor) -> Tensor:
            return self._gain * (self._weights(query_BHNK, key_BHSK, readable_BM).flatten(3) @ value_BHSK)

        query_BHNK, key_BHSK, value_BHSK = self._rows(tokens)
        logits = query_BHNK[0, ..., 0].numel() * key_BHSK.shape[2]
        context_BHNK = in_row_chunks(attend, query_BHNK, key_BHSK, value_BHSK, tokens.bars.readable_BN, logits_per_row=logits)
        return context_BHNK.transpose(1, 2)

    def _rows(self, tokens: AssetTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, every lag and source in one axis, so that each head is one matrix product."""
        query_BHNK = self.by_head(self.query(tokens.newest_BND))
        key_BHSK = self.by_head(tokens.bars.spread(self.key(tokens.token_UMD)).flatten(1, 2))
        value_BHSK = self.by_head(tokens.bars.spread(tokens.values_UMD(self.value)).flatten(1, 2))
        return query_BHNK, key_BHSK, value_BHSK

    def _weights(self, query_BHNK: Tensor, key_BHSK: Tensor, readable_BM: Tensor) -> Tensor:
        """(B, H, N, L, M): at each lag a share per source, times the lag's own share."""
        logit_BHNS = query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(self.head_width)
        logit_BHNLM = logit_BHNS.unflatten(-1, (-1, readable_BM.shape[1])) + self.source_HNM[:, :, None]
        weight_BHNLM = masked_softmax(logit_BHNLM, allowed_sources(readable_BM)[:, None, :, None])
        return weight_BHNLM * self.mixture_HNL[..., : weight_BHNLM.shape[-2]].softmax(dim=-1)[..., None]
