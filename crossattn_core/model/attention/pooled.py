"""Attention over the assets' means through time: which asset, never when.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor
from torch.nn import functional

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
        place_BL, fresh_UM = tokens.bars.place_BL, tokens.fresh_UM
        heard_UMD = tokens.token_UMD * fresh_UM[..., None]
        if tokens.bars.holder_UR is not None:
            # In a recorded step: the gradient of a bag sorts its places.
            count_BM, summed_BMD = (tokens.bars.spread(value).sum(dim=1) for value in (fresh_UM, heard_UMD))
        else:
            # Sums over a row's bars without writing out (B, L, M, D): weights that are alike over bars need no axis for them.
            count_BM = functional.embedding_bag(place_BL, fresh_UM, mode="sum")
            summed_BMD = functional.embedding_bag(place_BL, heard_UMD.flatten(1), mode="sum").unflatten(1, heard_UMD.shape[1:])
        pooled_BMD = summed_BMD / count_BM.clamp_min(1)[..., None]
        return pooled_BMD, (count_BM > 0).to(pooled_BMD.dtype), tokens.bars.readable_BN
