"""Attention over time means.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor

from crossattn_core.model.attention.base import ATTENTION, AssetTokens
from crossattn_core.model.attention.content import ContentAttention

__all__ = ["PooledAttention", "fresh_mean"]


@ATTENTION.register("pooled")
class PooledAttention(ContentAttention):
    """Queries and keys are means over time: which asset, never when. Permuting time changes nothing.

    Weight on a source is spread evenly over the bars that its mean was taken of.
    """

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        pooled_BMD, fresh_BLM = fresh_mean(tokens)
        has_fresh_BM = (fresh_BLM.sum(dim=1) > 0).to(pooled_BMD.dtype)
        context_BNHK, weight_BHNM = self.attend(pooled_BMD, pooled_BMD, has_fresh_BM, tokens.bars.readable_BN)
        lags = fresh_BLM.shape[1]
        return context_BNHK, (weight_BHNM / lags)[..., None].expand(*weight_BHNM.shape, lags)


def fresh_mean(tokens: AssetTokens) -> tuple[Tensor, Tensor]:
    """(B, M, D) mean token over the fresh bars (0 where none was), and (B, L, M) which were."""
    fresh_BLM = tokens.bars.spread(tokens.fresh_UM)
    summed_BMD = tokens.bars.spread(tokens.token_UMD * tokens.fresh_UM[..., None]).sum(dim=1)
    return summed_BMD / fresh_BLM.sum(dim=1).clamp_min(1)[..., None], fresh_BLM
