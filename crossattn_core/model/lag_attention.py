"""Lag-bias attention: one softmax over every (source, lag) pair, so that a lead has a place to be learnt.

Attention over a time mean cannot see a lead: permuting time leaves it unchanged. Here each head holds one learned
logit per (target, source, lag); a content term lets the target's newest token raise or lower pairs by what they hold.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, S = L * M pairs, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.model.attention import AssetTokens, CrossAttention

__all__ = ["LagBiasAttention"]

_NEVER = -1e9
"""A logit whose weight underflows to exactly 0 beside any other; finite, so that gradients are."""


class LagBiasAttention(CrossAttention):
    """Learned logits over (target, source, lag), an optional content term, nonlinear values."""

    self_mask_1NLM: Tensor

    def __init__(self, assets: int, lags: int, width: int, heads: int, *, content: bool) -> None:
        super().__init__()
        self._heads, self._head_width = heads, width // heads
        self.logit_HNLM = nn.Parameter(torch.zeros(heads, assets, lags, assets))
        self.value = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width, bias=False) if content else None
        self.key = nn.Linear(width, width, bias=False) if content else None
        never_NM = torch.eye(assets) * _NEVER
        never_1NLM = never_NM[None, :, None, :].expand(1, assets, lags, assets).clone()
        self.register_buffer("self_mask_1NLM", never_1NLM, persistent=False)
        # A diffuse softmax over S pairs averages independent values down by sqrt(S): undo it, so that learning starts.
        self._gain = math.sqrt(max(assets - 1, 1) * lags)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNLM]

    def share_values(self, first: int, second: int) -> None:
        rows_HKD = self.value.weight.data.view(self._heads, self._head_width, -1)
        rows_HKD[second] = rows_HKD[first]

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        bars = tokens.bars
        batch, lags = bars.place_BL.shape
        assets = tokens.token_UMD.shape[1]
        pairs = lags * assets
        # A silent bar keeps its place in the softmax, so weights do not jump as sessions open and close, but says nothing.
        value_UMD = self.value(tokens.token_UMD) * tokens.fresh_UM[..., None]
        bias_HNS = (self.logit_HNLM + self.self_mask_1NLM).view(self._heads, assets, pairs)
        logit_BHNS = bias_HNS.expand(batch, -1, -1, -1)
        if self.query is not None and self.key is not None:
            query_BHNK = self.query(tokens.newest_BND).view(batch, assets, self._heads, -1).transpose(1, 2)
            key_BHSK = bars.spread(self.key(tokens.token_UMD)).view(batch, pairs, self._heads, -1).transpose(1, 2)
            logit_BHNS = logit_BHNS + query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(self._head_width)
        nothing_readable_BN = None
        if not bool(bars.readable_BN.all()):
            never_BM = (~bars.readable_BN).float() * _NEVER
            logit_BHNS = logit_BHNS + never_BM[:, None, :].expand(batch, lags, assets).reshape(batch, 1, 1, pairs)
            others_BN = bars.readable_BN.sum(dim=1, keepdim=True) - bars.readable_BN.long()
            nothing_readable_BN = others_BN == 0
        weight_BHNS = logit_BHNS.softmax(dim=-1)
        if nothing_readable_BN is not None:
            weight_BHNS = weight_BHNS.masked_fill(nothing_readable_BN[:, None, :, None], 0.0)
        value_BHSK = bars.spread(value_UMD).view(batch, pairs, self._heads, self._head_width).transpose(1, 2)
        context_BHNK = self._gain * (weight_BHNS @ value_BHSK)
        weight_BHNML = weight_BHNS.view(batch, self._heads, assets, lags, assets).transpose(-2, -1)
        return context_BHNK.transpose(1, 2), weight_BHNML
