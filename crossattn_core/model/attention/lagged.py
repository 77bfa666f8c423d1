"""Attention lag by lag: a share per source times a share per lag, a low-rank form of one softmax over both.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, S = L * M pairs, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources, masked_softmax
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
        bars = tokens.bars
        lags, assets = bars.place_BL.shape[1], tokens.token_UMD.shape[1]
        query_BHNK = self.by_head(self.query(tokens.newest_BND))
        # Every lag and source in one axis, so that each head is one matrix product.
        key_BHSK = self.by_head(bars.spread(self.key(tokens.token_UMD)).flatten(1, 2))
        value_BHSK = self.by_head(bars.spread(tokens.values_UMD(self.value)).flatten(1, 2))
        logit_BHNS = query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(self.head_width)
        logit_BHNLM = logit_BHNS.unflatten(-1, (lags, assets)) + self.source_HNM[:, :, None]
        # At each lag a share per source, times the lag's own share.
        weight_BHNLM = masked_softmax(logit_BHNLM, allowed_sources(bars.readable_BN)[:, None, :, None])
        mixed_BHNLM = weight_BHNLM * self.mixture_HNL[..., :lags].softmax(dim=-1)[..., None]
        context_BHNK = self._gain * (mixed_BHNLM.flatten(3) @ value_BHSK)
        return context_BHNK.transpose(1, 2), mixed_BHNLM.transpose(-2, -1)
