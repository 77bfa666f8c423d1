"""Attention over the assets' newest bars.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

from torch import Tensor

from crossattn_core.model.attention.base import ATTENTION, AssetTokens
from crossattn_core.model.attention.content import ContentAttention

__all__ = ["LastStepAttention"]


@ATTENTION.register("last")
class LastStepAttention(ContentAttention):
    """Queries and keys are the assets' newest tokens; all weight lies on lag 0."""

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        context_BNHK, weight_BHNM = self.attend(*self._newest(tokens))
        weight_BHNML = weight_BHNM.new_zeros(*weight_BHNM.shape, tokens.bars.place_BL.shape[1])
        weight_BHNML[..., 0] = weight_BHNM
        return context_BNHK, weight_BHNML

    def context(self, tokens: AssetTokens) -> Tensor:
        return self.context_of(*self._newest(tokens))

    def _newest(self, tokens: AssetTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, whether they are fresh, whether they may be read."""
        fresh_BM = tokens.fresh_UM.index_select(0, tokens.bars.place_BL[:, 0])
        return tokens.newest_BND, fresh_BM, tokens.bars.readable_BN
