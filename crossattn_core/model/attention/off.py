"""No cross-attention.

Axes: B decision rows, N assets, L lags, H heads, K head width.
"""

from typing import Self

from torch import Tensor

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention
from crossattn_core.model.shape import NetworkShape

__all__ = ["NoCrossAttention"]


@ATTENTION.register("off")
class NoCrossAttention(CrossAttention):
    """The ablation: nothing is read from other assets."""

    reads_others = False

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, head_width

    @classmethod
    def build(cls, shape: NetworkShape, settings: ModelSettings) -> Self:
        return cls(settings.heads, settings.width // settings.heads)

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        batch, lags = tokens.bars.place_BL.shape
        assets = tokens.token_UMD.shape[1]
        context_BNHK = tokens.token_UMD.new_zeros(batch, assets, self._heads, self.head_width)
        return context_BNHK, tokens.token_UMD.new_zeros(batch, self._heads, assets, assets, lags)
