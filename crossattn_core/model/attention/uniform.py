"""Equal weights.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

import math
from typing import Self

from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources
from crossattn_core.model.shape import NetworkShape

__all__ = ["UniformAttention"]


@ATTENTION.register("uniform")
class UniformAttention(CrossAttention):
    """The ablation: every readable source and lag weighs the same, only values are learned."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.value = nn.Linear(width, width, bias=False)

    @classmethod
    def build(cls, shape: NetworkShape, settings: ModelSettings) -> Self:
        return cls(settings.width, settings.heads)

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
