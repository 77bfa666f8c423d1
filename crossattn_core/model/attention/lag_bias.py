"""Lag-bias attention: one softmax over every (source, lag) pair, so that a lead has a place to be learnt.

Attention over a time mean cannot see a lead: permuting time leaves it unchanged. Here each head holds one learned
logit per (target, source, lag); a content term lets the target's newest token raise or lower pairs by what they hold.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, S = L * M pairs,
Z batch or 1 or G, G distinct masks, E batch * head width, D width, H heads, K head width.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention, candidate_pairs
from crossattn_core.model.attention.pair_logits import MIN_TOTAL, started
from crossattn_core.model.attention.row_chunks import in_row_chunks
from crossattn_core.model.attention.row_masks import mix_by_mask
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.row_masks import RowMasks
from crossattn_core.panel.windows import RecentBars

__all__ = ["LagBiasAttention"]

_NEVER = -1e9
"""A logit whose weight underflows to exactly 0 beside any other; finite, so that gradients are."""


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
    shares_exponential = True
    """Whether the weights of two rows differ by what is readable alone, so that one exponential serves both."""

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
        self._is_shared: bool | None = None

    @classmethod
    def of(cls, shape: NetworkShape, settings: ModelSettings) -> CrossAttention:
        pairs = candidate_pairs(settings, shape.assets)
        return cls(shape, settings) if pairs is None else CandidatePairAttention(shape, settings, pairs)

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNLM]

    def start_from(self, share_HNX: Tensor, *, learned: bool) -> None:
        with torch.no_grad():
            logit_HNS, gain_HN = started(
                self.logit_HNLM.flatten(2), self.start_1NLM.flatten(2), self.gain_HN, share_HNX.flatten(2), learned=learned
            )
            self.logit_HNLM.copy_(logit_HNS.view_as(self.logit_HNLM))
            self.gain_HN.copy_(gain_HN)

    def prepare(self, readable_GM: Tensor | None, drift: float) -> bool:
        before, self._is_shared = self._is_shared, None
        if readable_GM is not None and self.query is None and self.shares_exponential:
            with torch.no_grad():
                total_GNH, reads_GN = self._totals(self._powers(self._logits()), readable_GM), _reads(readable_GM)
                self._is_shared = not bool((reads_GN[..., None] & (total_GNH < MIN_TOTAL * math.exp(min(drift, 500.0)))).any())
        return self._is_shared != before

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        weight_ZHNLM, masks = self._weights_by_mask(tokens)
        by_row_ZHNLM = weight_ZHNLM if masks is None else weight_ZHNLM[masks.place_B]
        context_BNHK = self._context(weight_ZHNLM, tokens) if masks is None else self.context(tokens)
        batch = len(tokens.bars.place_BL)
        return context_BNHK, by_row_ZHNLM.transpose(-2, -1).expand(batch, -1, -1, -1, -1)

    def context(self, tokens: AssetTokens) -> Tensor:
        if self.query is None and tokens.bars.all_readable:
            # One softmax for all rows: the weights are there anyway, and what watches the module's calls sees them.
            return self(tokens)[0]
        return self._summed_context(tokens, lambda weight_ZHNLM: weight_ZHNLM)

    def ahead(self, tokens: AssetTokens, first: int, last: int) -> Tensor:
        if self.query is not None:
            return super().ahead(tokens, first, last)

        # Without content the weights at later rows are known today: a bar that is l back now is l + j back then.
        def summed(weight_ZHNLM: Tensor) -> Tensor:
            lags = weight_ZHNLM.shape[-2]
            tail_ZHNLM = functional.pad(weight_ZHNLM.flip(-2).cumsum(-2).flip(-2), (0, 0, 0, last + 1))
            return tail_ZHNLM[..., first : first + lags, :] - tail_ZHNLM[..., last + 1 : last + 1 + lags, :]

        return self._summed_context(tokens, summed)

    def moved_by_source(self, now: AssetTokens, past: AssetTokens) -> Iterator[Tensor] | None:
        if self.query is not None:
            return None
        weight_ZHNLM, masks = self._weights_by_mask(now)
        moved_BLMHK = self._values(past) - self._values(now)
        moves = (mix_by_mask(weight_ZHNLM[..., m], masks, moved_BLMHK[:, :, m]) for m in range(moved_BLMHK.shape[2]))
        return (self.gain_HN.T[..., None] * mixed_BNHK for mixed_BNHK in moves)

    def _summed_context(self, tokens: AssetTokens, over_lags: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, N, H, K) weighted values under ``over_lags`` of the weights, a linear map along L."""
        bars = tokens.bars
        if self.query is not None:

            def attend(place_BL: Tensor, readable_BN: Tensor) -> Tensor:
                holder_UR = bars.holder_UR if place_BL is bars.place_BL else None
                part = RecentBars(bars.bar_UNC, place_BL, readable_BN, holder_UR, known_readable=bars.all_readable)
                rows = AssetTokens(tokens.token_UMD, part)
                return self._context(over_lags(self._weights_by_mask(rows)[0]), rows)

            return in_row_chunks(attend, bars.place_BL, bars.readable_BN, logits_per_row=self.logit_HNLM.numel())
        if self.shares_exponential and not bars.all_readable:
            context_BNHK = self._masked_context(tokens, over_lags)
            if context_BNHK is not None:
                return context_BNHK
        weight_ZHNLM, masks = self._weights_by_mask(tokens)
        return self._context(over_lags(weight_ZHNLM), tokens, masks)

    def _logits(self, tokens: AssetTokens | None = None) -> Tensor:
        """(Z, H, N, S) as if every asset were readable: Z is 1 without content, which needs no tokens, else B."""
        heads, assets, lags, _ = self.logit_HNLM.shape
        logit_ZHNS = (self.logit_HNLM + self.start_1NLM).view(1, heads, assets, lags * assets)
        if self.query is not None and self.key is not None and tokens is not None:
            query_BHNK = self.by_head(self.query(tokens.newest_BND))
            key_BHSK = self.by_head(tokens.bars.spread(self.key(tokens.token_UMD)).flatten(1, 2))
            logit_ZHNS = logit_ZHNS + query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(key_BHSK.shape[-1])
        return logit_ZHNS

    def _weights_by_mask(self, tokens: AssetTokens) -> tuple[Tensor, RowMasks | None]:
        """(Z, H, N, L, M) weights, and which rows have each mask; none where Z is 1, alike for all, or B.

        Rows that may read the same assets share one softmax, unless content gives each row logits of its own.
        """
        heads, assets, lags, _ = self.logit_HNLM.shape
        logit_ZHNS, masks = self._logits(tokens), None
        if tokens.bars.all_readable:
            weight_ZHNS = logit_ZHNS.softmax(dim=-1)
        else:
            masks = tokens.bars.masks if self.query is None else None
            readable_GM = tokens.bars.readable_BN if masks is None else masks.readable_ZM
            never_GM = (~readable_GM).float() * _NEVER
            never_GS = never_GM[:, None, :].expand(-1, lags, assets).reshape(-1, 1, 1, lags * assets)
            weight_ZHNS = (logit_ZHNS + never_GS).softmax(dim=-1)
            weight_ZHNS = weight_ZHNS.masked_fill(~_reads(readable_GM)[:, None, :, None], 0.0)
        return weight_ZHNS.view(-1, heads, assets, lags, assets), masks

    def _masked_context(self, tokens: AssetTokens, over_lags: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The context where rows may read different assets, from one exponential for all of them; none where it would underflow.

        A row's softmax differs from that of all assets by its normaliser alone: an unreadable asset's values are set to 0, and
        its share is left out of the sum. Where what a row cannot read holds nearly all, the rest is too small to divide by.
        """
        readable_BM, reads_BN = tokens.bars.readable_BN, _reads(tokens.bars.readable_BN)
        if self._is_shared is False:
            return None
        power_HNLM = self._powers(self._logits())
        total_BNH = self._totals(power_HNLM, readable_BM)
        if self._is_shared is None and bool((reads_BN[..., None] & (total_BNH < MIN_TOTAL)).any()):
            return None
        value_BLMHK = self._values(tokens) * readable_BM[:, None, :, None, None]
        weight_1HNS = over_lags(power_HNLM[None]).flatten(3)
        mixed_BNHK = self.gain_HN.T[..., None] * mix_by_mask(weight_1HNS, None, value_BLMHK.flatten(1, 2))
        return mixed_BNHK / total_BNH.masked_fill(~reads_BN[..., None], 1.0)[..., None]

    def _powers(self, logit_1HNS: Tensor) -> Tensor:
        """(H, N, L, M) exponentials, the largest of a head and target 1."""
        logit_HNS = logit_1HNS[0]
        return (logit_HNS - logit_HNS.amax(dim=-1, keepdim=True).detach()).exp().view_as(self.logit_HNLM)

    def _totals(self, power_HNLM: Tensor, readable_BM: Tensor) -> Tensor:
        """(B, N, H) sum of what a row may read."""
        with torch.autocast(power_HNLM.device.type, enabled=False):
            return (power_HNLM.sum(dim=-2) @ readable_BM.to(power_HNLM.dtype).T).permute(2, 1, 0)

    def _context(self, weight_ZHNLM: Tensor, tokens: AssetTokens, masks: RowMasks | None = None) -> Tensor:
        """(B, N, H, K) weighted values of the pairs; ``masks`` as in ``_weights_by_mask``."""
        value_BSHK = self._values(tokens).flatten(1, 2)
        if masks is None and len(weight_ZHNLM) > 1:
            return self.gain_HN.T[..., None] * (weight_ZHNLM.flatten(3) @ value_BSHK.transpose(1, 2)).transpose(1, 2)
        return self.gain_HN.T[..., None] * mix_by_mask(weight_ZHNLM.flatten(3), masks, value_BSHK)

    def _values(self, tokens: AssetTokens) -> Tensor:
        # A bar without a candle keeps its place in the softmax, lest weights jump as sessions open and close; its value is 0.
        return tokens.bars.spread(tokens.values_UMD(self.value)).unflatten(-1, (-1, self.head_width))


def _reads(readable_BM: Tensor) -> Tensor:
    """(B, N) whether there is another asset to read."""
    return readable_BM.sum(dim=1, keepdim=True) > readable_BM.long()
