"""Attention that keeps time apart from assets: lag by lag, or time first and assets then.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.model.attention import AssetTokens, CrossAttention, allowed_sources, masked_softmax

__all__ = ["FactorisedAttention", "LaggedAttention"]


class LaggedAttention(CrossAttention):
    """At each lag the newest token asks the others' tokens of that bar; a learned mixture over lags weighs the answers."""

    def __init__(self, assets: int, lags: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.mixture_HNL = nn.Parameter(torch.zeros(heads, assets, lags))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self._gain = math.sqrt(max(assets - 1, 1) * lags)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.mixture_HNL]

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        bars = tokens.bars
        batch, lags = bars.place_BL.shape
        assets = tokens.token_UMD.shape[1]

        def by_lag(value_UMD: Tensor) -> Tensor:
            return bars.spread(value_UMD).view(batch, lags, assets, self._heads, -1).permute(0, 3, 1, 2, 4)

        query_BH1NK = self.query(tokens.newest_BND).view(batch, 1, assets, self._heads, -1).permute(0, 3, 1, 2, 4)
        key_BHLMK = by_lag(self.key(tokens.token_UMD))
        value_BHLMK = by_lag(self.value(tokens.token_UMD) * tokens.fresh_UM[..., None])
        logit_BHLNM = query_BH1NK @ key_BHLMK.transpose(-2, -1) / math.sqrt(key_BHLMK.shape[-1])
        weight_BHLNM = masked_softmax(logit_BHLNM, allowed_sources(bars.readable_BN)[:, None, None])
        mixed_BHLNM = weight_BHLNM * self.mixture_HNL.softmax(dim=-1).transpose(1, 2)[None, :, :, :, None]
        context_BHNK = self._gain * (mixed_BHLNM @ value_BHLMK).sum(dim=2)
        return context_BHNK.transpose(1, 2), mixed_BHLNM.permute(0, 1, 3, 4, 2)


class FactorisedAttention(CrossAttention):
    """Causal attention over time within each asset, then attention over assets at the newest step.

    Cost grows with L^2 + N^2 instead of (N L)^2. Time is mixed before assets meet, so all weight lies on lag 0: this
    module cannot say at which lag a leader was read.
    """

    def __init__(self, lags: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self.head_width = heads, width // heads
        self.position_LD = nn.Parameter(torch.zeros(lags, width))
        self.time_query = nn.Linear(width, width, bias=False)
        self.time_key_value = nn.Linear(width, 2 * width, bias=False)
        self.time_out = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        bars = tokens.bars
        batch, lags = bars.place_BL.shape
        assets, width = tokens.token_UMD.shape[1:]
        heard_UMD = tokens.token_UMD * tokens.fresh_UM[..., None]
        token_BMLD = bars.spread(heard_UMD).transpose(1, 2) + self.position_LD[:lags]
        token_GLD = token_BMLD.reshape(batch * assets, lags, width)

        def by_head(flat: Tensor) -> Tensor:
            return flat.view(*flat.shape[:2], self._heads, -1).transpose(1, 2)

        # Only the newest step is read afterwards, and it may look at every earlier one: no causal mask is left to apply.
        key_GLD, value_GLD = self.time_key_value(token_GLD).chunk(2, dim=-1)
        mixed_GH1K = functional.scaled_dot_product_attention(
            by_head(self.time_query(token_GLD[:, :1])), by_head(key_GLD), by_head(value_GLD)
        )
        summary_GD = token_GLD[:, 0] + self.time_out(mixed_GH1K.transpose(1, 2).reshape(batch * assets, width))
        summary_BMD = self.norm(summary_GD).view(batch, assets, width)
        key_BMD, value_BMD = self.key_value(summary_BMD).chunk(2, dim=-1)
        logit_BHNM = by_head(self.query(summary_BMD)) @ by_head(key_BMD).transpose(-2, -1) / math.sqrt(width // self._heads)
        weight_BHNM = masked_softmax(logit_BHNM, allowed_sources(bars.readable_BN)[:, None])
        context_BHNK = weight_BHNM @ by_head(value_BMD)
        return context_BHNK.transpose(1, 2), functional.pad(weight_BHNM[..., None], (0, lags - 1))
