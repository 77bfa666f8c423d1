"""Attention over the assets' means through time: which asset, never when.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor

from crossattn_core.model.attention.base import ATTENTION, AssetTokens
from crossattn_core.model.attention.content import ContentAttention

__all__ = ["PooledAttention"]


@ATTENTION.register("pooled")
class PooledAttention(ContentAttention):
    """Queries and keys are means over the fresh bars: which asset, never when. Permuting time changes nothing.

    Weight on a source is spread evenly over all lags.
    """

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        context_BNHK, weight_BHNM = self.attend(*self._pooled(tokens))
        lags = tokens.bars.place_BL.shape[1]
        return context_BNHK, (weight_BHNM / lags)[..., None].expand(*weight_BHNM.shape, lags)

    def context(self, tokens: AssetTokens) -> Tensor:
        return self.context_of(*self._pooled(tokens))

    def _pooled(self, tokens: AssetTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Mean tokens over the fresh bars, whether there is one, whether the asset may be read."""
        count_BM = tokens.bars.spread(tokens.fresh_UM).sum(dim=1)
        summed_BMD = tokens.bars.spread(tokens.token_UMD * tokens.fresh_UM[..., None]).sum(dim=1)
        pooled_BMD = summed_BMD / count_BM.clamp_min(1)[..., None]
        return pooled_BMD, (count_BM > 0).to(pooled_BMD.dtype), tokens.bars.readable_BN
