"""Tokens from bars, and the causal temporal encoder of one asset's own window: ``own_branch: attention``.

Axes: B decision rows, U distinct bars, N assets, L bars of a window, P patches, C channels of a bar, D width,
H heads, K head width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape, by_head

__all__ = ["BarEmbedding", "CausalConvolution", "CausalLayer", "LinearPatches", "TemporalEncoder", "window_embedding"]


class BarEmbedding(nn.Module):
    """A nonlinear token for one bar of one asset, made of that bar alone."""

    def __init__(self, channels: int, assets: int, width: int) -> None:
        super().__init__()
        self.bar = nn.Linear(channels, width)
        self.identity_ND = nn.Parameter(torch.zeros(assets, width))
        self.mix = nn.Linear(width, width)

    def forward(self, bar_UNC: Tensor) -> Tensor:
        """(U, N, C) bars to (U, N, D) tokens."""
        return functional.relu(self.mix(functional.relu(self.bar(bar_UNC) + self.identity_ND)))


class LinearPatches(nn.Linear):
    """One token a patch: a linear map of its bars side by side."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__(patch * channels, width)
        self._patch = patch

    def forward(self, bar_BNLC: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  # torch says `input`
        """(B, N, L, C) to (B, N, P, D)."""
        return super().forward(bar_BNLC.unflatten(2, (-1, self._patch)).flatten(3))


class CausalConvolution(nn.Module):
    """One token a patch from the ``kernel`` bars that end with it: neighbouring tokens share bars, none reads a later one."""

    def __init__(self, channels: int, width: int, kernel: int, patch: int) -> None:
        super().__init__()
        self._padding = kernel - patch
        self.bars = nn.Conv1d(channels, width, kernel, stride=patch)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, L, C) to (B, N, P, D); before the window's first bar there are zeros."""
        batch, assets = bar_BNLC.shape[:2]
        bar_GCL = functional.pad(bar_BNLC.flatten(0, 1).transpose(1, 2), (self._padding, 0))
        return self.bars(bar_GCL).transpose(1, 2).unflatten(0, (batch, assets))


def window_embedding(channels: int, settings: ModelSettings) -> nn.Module:
    """(B, N, L, C) bars to (B, N, P, D) tokens as ``model.embedding`` says: token p holds bars up to the end of patch p."""
    if settings.embedding == "convolution":
        return CausalConvolution(channels, settings.width, settings.kernel, settings.patch)
    return LinearPatches(channels, settings.width, settings.patch)


@ENCODERS.register("attention")
class TemporalEncoder(Encoder):
    """Causal self-attention over the patches of each asset's window; assets do not meet here."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        width = settings.width
        self.embed = window_embedding(shape.channels, settings)
        self.position_PD = nn.Parameter(torch.zeros(settings.lookback // settings.patch, width))
        self.identity_ND = nn.Parameter(torch.zeros(shape.assets, width))
        self.layers = nn.ModuleList([CausalLayer(width, settings.heads, settings.dropout) for _ in range(settings.layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, L, C) to the newest patch's token (B, N, D): a patch token is read only once its last bar is known."""
        token_GPD = self.tokens(bar_BNLC).flatten(0, 1)
        for depth, layer in enumerate(self.layers):
            # The last layer gives the newest token only: its other rows would be thrown away.
            token_GPD = layer(token_GPD, newest=int(depth == len(self.layers) - 1))
        return self.norm(token_GPD)[:, -1].unflatten(0, bar_BNLC.shape[:2])

    def tokens(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, L, C) to (B, N, P, D), before any attention: token p holds bars up to the end of patch p and none later."""
        embedded_BNPD = self.embed(bar_BNLC)
        return embedded_BNPD + self.position_PD[-embedded_BNPD.shape[2] :] + self.identity_ND[:, None, :]


class CausalLayer(nn.Module):
    """Pre-norm causal attention (fused kernel, so no dropout on the weights) and a feed-forward of twice the width."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_forward = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, token_GPD: Tensor, *, newest: int = 0) -> Tensor:
        """(G, P, D) to the layer's tokens (G, Q, D): of the ``newest`` so many steps, of all with 0."""
        return self.feed_forward(self.attend(token_GPD, newest=newest))

    def attend(self, token_GPD: Tensor, *, newest: int = 0) -> Tensor:
        """The residual attention alone; each step reads itself and those before it."""
        steps = token_GPD.shape[1]
        asked = min(newest or steps, steps)
        normed_GPD = self.norm_attention(token_GPD)
        query_GQD, kept_GQD = normed_GPD[:, steps - asked :], token_GPD[:, steps - asked :]
        parts_GXD = self.query(query_GQD), *self.key_value(normed_GPD).chunk(2, dim=-1)
        query_GHQK, key_GHPK, value_GHPK = (by_head(part_GXD, self._heads) for part_GXD in parts_GXD)
        seen_QP = None
        if 1 < asked < steps:
            seen_QP = torch.ones(asked, steps, dtype=torch.bool, device=token_GPD.device).tril(steps - asked)
        mixed_GHQK = functional.scaled_dot_product_attention(
            query_GHQK, key_GHPK, value_GHPK, attn_mask=seen_QP, is_causal=asked == steps > 1
        )
        return kept_GQD + self.dropout(self.out(mixed_GHQK.transpose(1, 2).flatten(2)))

    def feed_forward(self, token_GQD: Tensor) -> Tensor:
        """The residual feed-forward alone."""
        expanded_GQE = functional.gelu(self.expand(self.norm_forward(token_GQD)))
        return token_GQD + self.dropout(self.contract(expanded_GQE))
