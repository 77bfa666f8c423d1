"""Attention by content, one token an asset: its newest bar ('last') or the mean of its bars ('pooled').

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources, masked_softmax
from crossattn_core.model.shape import NetworkShape

__all__ = ["ContentAttention", "LastStepAttention", "PooledAttention"]


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
        query_BHNK, key_BHMK = self.by_head(self.query(token_BMD)), self.by_head(self.key(token_BMD))
        value_BHMK = self.by_head(self.value(token_BMD) * fresh_BM[..., None])
        logit_BHNM = self.logit_HNM + query_BHNK @ key_BHMK.transpose(-2, -1) / math.sqrt(query_BHNK.shape[-1])
        weight_BHNM = masked_softmax(logit_BHNM, allowed_sources(readable_BM)[:, None])
        return self._gain * (weight_BHNM @ value_BHMK).transpose(1, 2), weight_BHNM


@ATTENTION.register("last")
class LastStepAttention(ContentAttention):
    """Queries and keys are the assets' newest tokens; all weight lies on lag 0."""

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        fresh_BM = tokens.fresh_UM.index_select(0, tokens.bars.place_BL[:, 0])
        context_BNHK, weight_BHNM = self.attend(tokens.newest_BND, fresh_BM, tokens.bars.readable_BN)
        weight_BHNML = weight_BHNM.new_zeros(*weight_BHNM.shape, tokens.bars.place_BL.shape[1])
        weight_BHNML[..., 0] = weight_BHNM
        return context_BNHK, weight_BHNML


@ATTENTION.register("pooled")
class PooledAttention(ContentAttention):
    """Queries and keys are means over the fresh bars: which asset, never when. Permuting time changes nothing.

    Weight on a source is spread evenly over all lags.
    """

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        fresh_BLM = tokens.bars.spread(tokens.fresh_UM)
        count_BM = fresh_BLM.sum(dim=1)
        summed_BMD = tokens.bars.spread(tokens.token_UMD * tokens.fresh_UM[..., None]).sum(dim=1)
        pooled_BMD = summed_BMD / count_BM.clamp_min(1)[..., None]
        context_BNHK, weight_BHNM = self.attend(pooled_BMD, (count_BM > 0).to(pooled_BMD.dtype), tokens.bars.readable_BN)
        lags = fresh_BLM.shape[1]
        return context_BNHK, (weight_BHNM / lags)[..., None].expand(*weight_BHNM.shape, lags)
