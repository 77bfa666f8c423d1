"""Lag-bias attention: one softmax over every (source, lag) pair, so that a lead has a place to be learnt.

Attention over a time mean cannot see a lead: permuting time leaves it unchanged. Here each head holds one learned
logit per (target, source, lag); a content term lets the target's newest token raise or lower pairs by what they hold.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, S = L * M pairs,
Z batch or 1, E batch * head width, D width, H heads, K head width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention
from crossattn_core.model.shape import NetworkShape

__all__ = ["LagBiasAttention"]

_NEVER = -1e9
"""A logit whose weight underflows to exactly 0 beside any other; finite, so that gradients are."""


@ATTENTION.register("lag_bias")
class LagBiasAttention(CrossAttention):
    """Learned logits over (target, source, lag), an optional content term, nonlinear values."""

    start_1NLM: Tensor
    """What learned logits are added to: the prior over lags, and never for an asset's own history."""
    has_value_width = True
    """Whether a head's values are ``model.value_width`` wide; else as wide as everywhere."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        assets, lags, width, heads = shape.assets, settings.max_lag, settings.width, settings.heads
        if self.has_value_width:
            self.head_width = settings.value_width
        self.logit_HNLM = nn.Parameter(torch.zeros(heads, assets, lags, assets))
        self.value = nn.Linear(width, heads * self.head_width, bias=False)
        self.query = nn.Linear(width, width, bias=False) if settings.content else None
        self.key = nn.Linear(width, width, bias=False) if settings.content else None
        never_NM = torch.eye(assets) * _NEVER
        prior_L = -settings.lag_prior * torch.arange(1, lags + 1).log()
        if settings.lag_prior > 0:
            # The softmax starts out over fewer lags: as many as equal weights would have the same sum of squares.
            share_L = prior_L.softmax(dim=0)
            self._gain = math.sqrt(max(assets - 1, 1) / float((share_L**2).sum()))
        start_1NLM = (never_NM[:, None, :] + prior_L[:, None])[None]
        self.register_buffer("start_1NLM", start_1NLM, persistent=False)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNLM]

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        weight_ZHNLM = self._weights(tokens)
        batch = len(tokens.bars.place_BL)
        return self._context(weight_ZHNLM, tokens), weight_ZHNLM.transpose(-2, -1).expand(batch, -1, -1, -1, -1)

    def ahead(self, tokens: AssetTokens, first: int, last: int) -> Tensor:
        if self.query is not None:
            return super().ahead(tokens, first, last)
        # Without content the weights at later rows are known today: a bar that is l back now is l + j back then.
        weight_ZHNLM = self._weights(tokens)
        lags = weight_ZHNLM.shape[-2]
        tail_ZHNLM = functional.pad(weight_ZHNLM.flip(-2).cumsum(-2).flip(-2), (0, 0, 0, last + 1))
        summed_ZHNLM = tail_ZHNLM[..., first : first + lags, :] - tail_ZHNLM[..., last + 1 : last + 1 + lags, :]
        return self._context(summed_ZHNLM, tokens)

    def _weights(self, tokens: AssetTokens) -> Tensor:
        """(Z, H, N, L, M): Z is 1 where every row shares one softmax (no content, every asset readable), else B."""
        bars = tokens.bars
        heads, assets, lags, _ = self.logit_HNLM.shape
        batch, pairs = len(bars.place_BL), lags * assets
        logit_ZHNS = (self.logit_HNLM + self.start_1NLM).view(1, heads, assets, pairs)
        if self.query is not None and self.key is not None:
            query_BHNK = self.by_head(self.query(tokens.newest_BND))
            key_BHSK = self.by_head(bars.spread(self.key(tokens.token_UMD)).flatten(1, 2))
            logit_ZHNS = logit_ZHNS + query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(key_BHSK.shape[-1])
        if bool(bars.readable_BN.all()):
            weight_ZHNS = logit_ZHNS.softmax(dim=-1)
        else:
            never_BM = (~bars.readable_BN).float() * _NEVER
            logit_ZHNS = logit_ZHNS + never_BM[:, None, :].expand(batch, lags, assets).reshape(batch, 1, 1, pairs)
            others_BN = bars.readable_BN.sum(dim=1, keepdim=True) - bars.readable_BN.long()
            weight_ZHNS = logit_ZHNS.softmax(dim=-1).masked_fill((others_BN == 0)[:, None, :, None], 0.0)
        return weight_ZHNS.view(-1, heads, assets, lags, assets)

    def _context(self, weight_ZHNLM: Tensor, tokens: AssetTokens) -> Tensor:
        """(B, N, H, K) weighted values of the pairs."""
        heads, assets, lags = weight_ZHNLM.shape[1:4]
        batch = len(tokens.bars.place_BL)
        # A bar without a candle keeps its place in the softmax, lest weights jump as sessions open and close; its value is 0.
        value_BLMHK = tokens.bars.spread(tokens.values_UMD(self.value)).unflatten(-1, (heads, self.head_width))
        if len(weight_ZHNLM) == 1:
            # One matrix product a head for the whole batch: attention as a convolution over time.
            value_HSE = value_BLMHK.permute(3, 1, 2, 0, 4).reshape(heads, lags * assets, batch * self.head_width)
            context_HNBK = (weight_ZHNLM[0].flatten(2) @ value_HSE).view(heads, assets, batch, self.head_width)
            return self._gain * context_HNBK.permute(2, 1, 0, 3)
        value_BHSK = value_BLMHK.permute(0, 3, 1, 2, 4).reshape(batch, heads, lags * assets, self.head_width)
        return self._gain * (weight_ZHNLM.flatten(3) @ value_BHSK).transpose(1, 2)
