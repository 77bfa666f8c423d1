"""The ablation that reads every source and lag alike.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, allowed_sources
from crossattn_core.model.shape import NetworkShape

__all__ = ["UniformAttention"]


@ATTENTION.register("uniform")
class UniformAttention(CrossAttention):
    """Every readable source and lag weighs the same, only values are learned."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.value = nn.Linear(settings.width, settings.width, bias=False)

    def share_values(self, first: int, second: int) -> None:
        # Each head keeps values of its own.
        return

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        batch, lags = tokens.bars.place_BL.shape
        allowed_BNM = allowed_sources(tokens.bars.readable_BN).to(tokens.token_UMD.dtype)
        weight_BNM = allowed_BNM / (allowed_BNM.sum(dim=-1, keepdim=True).clamp_min(1) * lags)
        summed_BMD = tokens.bars.spread(tokens.values_UMD(self.value)).sum(dim=1)
        context_BNHK = self._gain * (weight_BNM @ summed_BMD).view(batch, weight_BNM.shape[1], self._heads, -1)
        return context_BNHK, weight_BNM[:, None, :, :, None].expand(-1, self._heads, -1, -1, lags)
