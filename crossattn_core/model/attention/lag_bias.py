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


_SMALLEST = 1e-30
"""A weight whose logit is still a number."""
_TOLD, _KEPT = 0.4, 0.4
"""Screening tells a target's pairs when they take so much of a start; learned weights that give them less than this part of
that begin anew."""


@ATTENTION.register("lag_bias")
class LagBiasAttention(CrossAttention):
    """Learned logits over (target, source, lag), an optional content term, nonlinear values."""

    gain_HN: Tensor
    """What a context is multiplied by: the inverse root of the sum of squares of the weights that the fit starts from."""
    start_1NLM: Tensor
    """What learned logits are added to: the prior over lags, and never for an asset's own history."""
    starts_from_pairs = True
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
        self.register_buffer("gain_HN", torch.full((heads, assets), self._gain))

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNLM]

    def start_from(self, share_HNLM: Tensor, *, learned: bool) -> None:
        with torch.no_grad():
            learned_HNLM, even_HNLM = (
                logit.flatten(2).softmax(dim=-1).view_as(logit)
                for logit in (self.logit_HNLM + self.start_1NLM, torch.zeros_like(self.logit_HNLM) + self.start_1NLM)
            )
            is_new_HN = torch.ones_like(self.gain_HN, dtype=torch.bool)
            if learned:
                told_HN = share_HNLM.sum(dim=(-2, -1))
                is_new_HN = (told_HN > _TOLD) & (torch.minimum(learned_HNLM, share_HNLM).sum(dim=(-2, -1)) < _KEPT * told_HN)
            weight_HNLM = share_HNLM + (1 - share_HNLM.sum(dim=(-2, -1), keepdim=True)) * even_HNLM
            logit_HNLM = weight_HNLM.clamp_min(_SMALLEST).log() - self.start_1NLM.clamp_min(math.log(_SMALLEST))
            self.logit_HNLM.copy_(torch.where(is_new_HN[..., None, None], logit_HNLM, self.logit_HNLM))
            self.gain_HN.copy_(torch.where(is_new_HN, (weight_HNLM**2).sum(dim=(-2, -1)).rsqrt(), self.gain_HN))

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
            return (self.gain_HN[..., None, None] * context_HNBK).permute(2, 1, 0, 3)
        value_BHSK = value_BLMHK.permute(0, 3, 1, 2, 4).reshape(batch, heads, lags * assets, self.head_width)
        return (self.gain_HN[..., None] * (weight_ZHNLM.flatten(3) @ value_BHSK)).transpose(1, 2)
