"""The plain ways for one asset to read the others: their last step, their mean over time, or all alike.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn

from crossattn_core.model.attention.base import AssetTokens, CrossAttention, allowed_sources, copy_head_rows, masked_softmax

__all__ = ["LastStepAttention", "PooledAttention", "UniformAttention", "heard_mean"]


class _ContentAttention(CrossAttention):
    """Queries, keys and values of one token an asset, for heads of their own; learned logits say whom a target prefers."""

    def __init__(self, assets: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.logit_HNM = nn.Parameter(torch.zeros(heads, assets, assets))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        # As in lag_bias: a diffuse softmax over the others averages independent values down.
        self._gain = math.sqrt(max(assets - 1, 1))

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNM]

    def share_values(self, first: int, second: int) -> None:
        copy_head_rows(self.value, self._heads, first, second)

    def _read(self, asking_BND: Tensor, read_BMD: Tensor, heard_BM: Tensor, readable_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, N, H, K) and weights (B, H, N, M); ``heard_BM`` scales what each source says."""
        batch, assets, _ = asking_BND.shape

        def by_head(flat_BND: Tensor) -> Tensor:
            return flat_BND.view(batch, assets, self._heads, -1).transpose(1, 2)

        query_BHNK, key_BHMK = by_head(self.query(asking_BND)), by_head(self.key(read_BMD))
        value_BHMK = by_head(self.value(read_BMD) * heard_BM[..., None])
        logit_BHNM = self.logit_HNM + query_BHNK @ key_BHMK.transpose(-2, -1) / math.sqrt(query_BHNK.shape[-1])
        weight_BHNM = masked_softmax(logit_BHNM, allowed_sources(readable_BM)[:, None])
        return self._gain * (weight_BHNM @ value_BHMK).transpose(1, 2), weight_BHNM


class LastStepAttention(_ContentAttention):
    """Each asset's newest token asks the others' newest tokens; all weight lies on lag 0."""

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        newest_BND = tokens.newest_BND
        fresh_BM = tokens.fresh_UM.index_select(0, tokens.bars.place_BL[:, 0])
        context_BNHK, weight_BHNM = self._read(newest_BND, newest_BND, fresh_BM, tokens.bars.readable_BN)
        weight_BHNML = weight_BHNM.new_zeros(*weight_BHNM.shape, tokens.bars.place_BL.shape[1])
        weight_BHNML[..., 0] = weight_BHNM
        return context_BNHK, weight_BHNML


class PooledAttention(_ContentAttention):
    """Time-pooled tokens ask time-pooled tokens: which asset, never when. Permuting time changes nothing.

    Weight on a source is spread evenly over the bars that its mean was taken of.
    """

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        pooled_BMD, fresh_BLM = heard_mean(tokens)
        heard_BM = (fresh_BLM.sum(dim=1) > 0).to(pooled_BMD.dtype)
        context_BNHK, weight_BHNM = self._read(pooled_BMD, pooled_BMD, heard_BM, tokens.bars.readable_BN)
        lags = fresh_BLM.shape[1]
        return context_BNHK, (weight_BHNM / lags)[..., None].expand(*weight_BHNM.shape, lags)


class UniformAttention(CrossAttention):
    """The ablation: every readable source and lag weighs the same, only values are learned."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        batch, lags = tokens.bars.place_BL.shape
        allowed_BNM = allowed_sources(tokens.bars.readable_BN).to(tokens.token_UMD.dtype)
        weight_BNM = allowed_BNM / (allowed_BNM.sum(dim=-1, keepdim=True).clamp_min(1) * lags)
        value_UMD = self.value(tokens.token_UMD) * tokens.fresh_UM[..., None]
        summed_BMD = tokens.bars.spread(value_UMD).sum(dim=1)
        # The same gain as lag_bias, so that the two differ in the weights alone.
        gain = math.sqrt(max(weight_BNM.shape[-1] - 1, 1) * lags)
        context_BNHK = gain * (weight_BNM @ summed_BMD).view(batch, weight_BNM.shape[1], self._heads, -1)
        return context_BNHK, weight_BNM[:, None, :, :, None].expand(-1, self._heads, -1, -1, lags)


def heard_mean(tokens: AssetTokens) -> tuple[Tensor, Tensor]:
    """(B, M, D) mean token over the fresh bars (0 where all were silent), and (B, L, M) which were fresh."""
    fresh_BLM = tokens.bars.spread(tokens.fresh_UM)
    summed_BMD = tokens.bars.spread(tokens.token_UMD * tokens.fresh_UM[..., None]).sum(dim=1)
    return summed_BMD / fresh_BLM.sum(dim=1).clamp_min(1)[..., None], fresh_BLM
