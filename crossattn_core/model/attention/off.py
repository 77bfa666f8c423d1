"""The ablation that reads no other asset.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor

from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention

__all__ = ["NoCrossAttention"]


@ATTENTION.register("off")
class NoCrossAttention(CrossAttention):
    """Nothing is read from other assets."""

    reads_others = False

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        batch, lags = tokens.bars.place_BL.shape
        assets = tokens.token_UMD.shape[1]
        context_BNHK = tokens.token_UMD.new_zeros(batch, assets, self._heads, self.head_width)
        return context_BNHK, tokens.token_UMD.new_zeros(batch, self._heads, assets, assets, lags)
