"""No cross-attention.

Axes: B decision rows, N assets, L lags, H heads, K head width.
"""

from torch import Tensor

from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention

__all__ = ["NoCrossAttention"]


@ATTENTION.register("off")
class NoCrossAttention(CrossAttention):
    """The ablation: nothing is read from other assets."""

    reads_others = False

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        batch, lags = tokens.bars.place_BL.shape
        assets = tokens.token_UMD.shape[1]
        context_BNHK = tokens.token_UMD.new_zeros(batch, assets, self._heads, self.head_width)
        return context_BNHK, tokens.token_UMD.new_zeros(batch, self._heads, assets, assets, lags)
