"""Attention over time first and assets then: a low-rank form of one softmax over (source, lag).

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, P steps, S = M * P pairs, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources, masked_softmax
from crossattn_core.model.attention.row_chunks import in_row_chunks
from crossattn_core.model.shape import NetworkShape

__all__ = ["FactorisedAttention"]

_OWN_PATCH = 2.0
"""Logit by which a step prefers the bars of its own patch at the start."""


@ATTENTION.register("factorised")
class FactorisedAttention(CrossAttention):
    """Time within each asset, then assets: every source sums its recent bars up in a few steps, targets read the steps.

    A step is an attention over the source's own bars, one patch of them at the start; a target attends over every
    (source, step). Cost grows with M * P * L + N * M * P instead of N * M * L. The weight on a bar is the product of
    the two, so leaders keep their lags.
    """

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        assets, lags, width, heads = shape.assets, settings.max_lag, settings.width, settings.heads
        self._steps = min(settings.steps, lags)
        self._scale = 1 / math.sqrt(self.head_width)
        patch_L = torch.arange(lags) * self._steps // lags
        own_PL = (patch_L[None, :] == torch.arange(self._steps)[:, None]).float() * _OWN_PATCH
        self.time_HMPL = nn.Parameter(own_PL.expand(heads, assets, -1, -1).clone())
        self.step_HNS = nn.Parameter(torch.zeros(heads, assets, assets * self._steps))
        self.step_query_HPK = nn.Parameter(torch.zeros(heads, self._steps, self.head_width))
        self.time_key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(self.head_width, self.head_width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.time_HMPL, self.step_HNS]

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        query_BHNK, summary_BHSK, time_BHMPL = self._rows(tokens)
        step_BHNS = self._step_weights(query_BHNK, summary_BHSK, tokens.bars.readable_BN)
        weight_BHNML = torch.einsum("bhnmp,bhmpl->bhnml", step_BHNS.unflatten(-1, (-1, self._steps)), time_BHMPL)
        return self._gain * (step_BHNS @ summary_BHSK).transpose(1, 2), weight_BHNML

    def context(self, tokens: AssetTokens) -> Tensor:
        def attend(query_BHNK: Tensor, summary_BHSK: Tensor, readable_BM: Tensor) -> Tensor:
            return self._gain * (self._step_weights(query_BHNK, summary_BHSK, readable_BM) @ summary_BHSK)

        rows = (*self._rows(tokens)[:2], tokens.bars.readable_BN)
        return in_row_chunks(attend, *rows, logits_per_row=self.step_HNS.numel()).transpose(1, 2)

    def _rows(self, tokens: AssetTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, N, K), steps that sources are summed up in (B, H, S, K), and their weights over bars (B, H, M, P, L)."""
        bars, lags = tokens.bars, tokens.bars.place_BL.shape[1]

        def by_bar(value_UMD: Tensor) -> Tensor:
            return bars.spread(value_UMD).unflatten(-1, (self._heads, -1)).permute(0, 3, 2, 1, 4)

        key_BHMLK = by_bar(self.time_key(tokens.token_UMD))
        value_BHMLK = by_bar(tokens.values_UMD(self.value))
        content_BHMPL = (self.step_query_HPK[:, None] * self._scale) @ key_BHMLK.transpose(-2, -1)
        time_BHMPL = (self.time_HMPL[..., :lags] + content_BHMPL).softmax(dim=-1)
        return self.by_head(self.query(tokens.newest_BND)), (time_BHMPL @ value_BHMLK).flatten(2, 3), time_BHMPL

    def _step_weights(self, query_BHNK: Tensor, summary_BHSK: Tensor, readable_BM: Tensor) -> Tensor:
        """(B, H, N, S)."""
        logit_BHNS = self.step_HNS + query_BHNK @ self.key(summary_BHSK).transpose(-2, -1) * self._scale
        allowed_BNS = allowed_sources(readable_BM).repeat_interleave(self._steps, dim=-1)
        return masked_softmax(logit_BHNS, allowed_BNS[:, None])
