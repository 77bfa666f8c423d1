"""Lag-bias attention of large universes: each target attends over the K (source, lag) pairs that screening found strongest.

Logits over every pair grow with N * N * L, and so do their softmax and its gradient; here all three are (N, K).

Axes: B decision rows, U distinct bars, N targets, M sources (the same assets), L lags, K pairs of a target,
Z distinct masks, G rows that are gathered at once, D width, H heads, J width of a head's value.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import AssetTokens, CrossAttention, masked_softmax
from crossattn_core.model.attention.pair_logits import MIN_TOTAL, started
from crossattn_core.model.attention.pair_products import (
    PairPattern,
    gathered,
    gathered_products,
    products_by_source,
    sparse_products,
)
from crossattn_core.model.attention.row_chunks import in_row_chunks
from crossattn_core.model.attention.row_masks import rows_back, rows_by_mask
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.row_masks import RowMasks
from crossattn_core.panel.windows import RecentBars

__all__ = ["CandidatePairAttention", "candidate_pairs"]

_MOST_PAIRS = 4096
"""Pairs a target up to which 'auto' attends over all of them: 170 assets with a day of hourly lags."""
_AUTO_PAIRS = 64
"""Pairs a target that 'auto' attends over beyond."""
_LEAST_OF_EVEN = 0.1
"""Of an even share, the least that a pair starts with which takes another's place."""


def candidate_pairs(settings: ModelSettings, assets: int) -> int | None:
    """K, how many (source, lag) pairs a target attends over by ``model.candidate_pairs``; none: every pair."""
    every = max(assets - 1, 1) * settings.max_lag
    asked = settings.candidate_pairs
    if asked == "auto":
        asked = _AUTO_PAIRS if every > _MOST_PAIRS else "all"
    return None if asked == "all" or asked >= every else asked


class CandidatePairAttention(CrossAttention):
    """One softmax over K pairs a target: learned logits, an optional content term, nonlinear values.

    Before ``read_pairs`` says which, they are the others' newest bars. Memory: H * N * K of parameters, and the values of one
    head over all lags (L * M * B * J) while a batch is mixed; with content B * N * K, in chunks of rows. The weights that
    ``forward`` returns are spelled out over every pair: H * N * M * L for each distinct mask.
    """

    pair_NK: Tensor
    """``source * L + lag``, ascending for each target."""
    gain_HN: Tensor
    """What a context is multiplied by: the inverse root of the sum of squares of the weights that the fit starts from."""
    starts_from_pairs = True

    def __init__(self, shape: NetworkShape, settings: ModelSettings, pairs: int, *, top_sources: int | None = None) -> None:
        super().__init__(shape, settings)
        assets, width, heads = shape.assets, settings.width, settings.heads
        self.lags, self._lag_prior, self._top_sources = settings.max_lag, settings.lag_prior, top_sources
        if top_sources is None:
            self.head_width = settings.value_width
        self.logit_HNK = nn.Parameter(torch.zeros(heads, assets, pairs))
        self.value = nn.Linear(width, heads * self.head_width, bias=False)
        self.query = nn.Linear(width, width, bias=False) if settings.content else None
        self.key = nn.Linear(width, width, bias=False) if settings.content else None
        self.register_buffer("pair_NK", _newest(assets, self.lags, pairs))
        self._made: tuple[Tensor, int, PairPattern] | None = None
        self.register_buffer("gain_HN", (self._start_NK.softmax(dim=-1) ** 2).sum(dim=-1).rsqrt().repeat(heads, 1))

    def logit_parameters(self) -> list[nn.Parameter]:
        return [self.logit_HNK]

    def read_pairs(self, pair_NK: Tensor) -> None:
        """Attend over these pairs, (N, K) ``source * L + lag``, from now on.

        A pair that was read before keeps its logit; the others share what the pairs that they replace held, evenly.
        """
        pair_NK = pair_NK.sort(dim=-1).values
        same_NKX = pair_NK[:, :, None] == self.pair_NK[:, None, :]
        kept_NK = same_NKX.any(dim=-1)
        with torch.no_grad():
            before_HNX = (self.logit_HNK + self._start_NK).softmax(dim=-1)
            held_HNK = before_HNX.gather(-1, same_NKX.int().argmax(dim=-1).expand_as(before_HNX)) * kept_NK
            new_N1 = (~kept_NK).sum(dim=-1, keepdim=True).clamp_min(1)
            left_HN1 = 1 - held_HNK.sum(dim=-1, keepdim=True)
            # What held nothing would leave the new pairs without a gradient.
            new_HN1 = (left_HN1 / new_N1).clamp_min(_LEAST_OF_EVEN / pair_NK.shape[1])
            self.pair_NK.copy_(pair_NK)
            self.logit_HNK.copy_(torch.where(kept_NK, held_HNK, new_HN1).clamp_min(1e-30).log() - self._start_NK)

    def start_from(self, share_HNX: Tensor, *, learned: bool) -> None:
        with torch.no_grad():
            logit_HNK, gain_HN = started(self.logit_HNK, self._start_NK[None], self.gain_HN, share_HNX, learned=learned)
            self.logit_HNK.copy_(logit_HNK)
            self.gain_HN.copy_(gain_HN)

    def strongest_pairs(self) -> Tensor:
        """(N, K) pairs that hold more than twice an even share of a head's learned weight, -1 elsewhere."""
        with torch.no_grad():
            weight_NK = (self.logit_HNK + self._start_NK).softmax(dim=-1).amax(dim=0)
        return torch.where(weight_NK > 2 / weight_NK.shape[1], self.pair_NK, -1)

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """The context and the weights (B, H, N, M, L), 0 on every pair that is no candidate."""
        weight_ZHNK, masks = self.pair_weights(tokens)
        weight_ZHNML = weight_ZHNK.new_zeros(*weight_ZHNK.shape[:3], len(self.pair_NK) * self.lags)
        weight_ZHNML = weight_ZHNML.scatter(-1, self.pair_NK.expand_as(weight_ZHNK), weight_ZHNK)
        weight_ZHNML = weight_ZHNML.unflatten(-1, (-1, self.lags))
        by_row_BHNML = weight_ZHNML if masks is None else weight_ZHNML[masks.place_B]
        return self.context(tokens), by_row_BHNML.expand(len(tokens.bars.place_BL), -1, -1, -1, -1)

    def context(self, tokens: AssetTokens) -> Tensor:
        multiplies = self.query is None and _multiplies_sparse(self.pair_NK.device)
        return self._sparse_context(tokens) if multiplies else self._gathered_context(tokens)

    def ahead(self, tokens: AssetTokens, first: int, last: int) -> Tensor:
        if self.query is None and _multiplies_sparse(self.pair_NK.device):
            return self._sparse_context(tokens, (first, last))
        return super().ahead(tokens, first, last)

    def moved_by_source(self, now: AssetTokens, past: AssetTokens) -> Iterator[Tensor] | None:
        if self.query is not None:
            return None
        weight_ZHNK, masks = self.pair_weights(now)
        place_B = None if masks is None else masks.place_B
        before_UMHJ, after_UMHJ = self._values(now), self._values(past)
        moves = (
            after_UMHJ[past.bars.place_BL, source] - before_UMHJ[now.bars.place_BL, source] for source in range(len(self.pair_NK))
        )
        return (self.gain_HN.T[..., None] * move for move in products_by_source(weight_ZHNK, place_B, moves, self._pattern))

    @property
    def _start_NK(self) -> Tensor:
        """What learned logits are added to: the prior over lags."""
        return -self._lag_prior * (self.pair_NK % self.lags + 1).log()

    @property
    def _pattern(self) -> PairPattern:
        """Made once for the pairs that are read."""
        pair_NK = self.pair_NK
        if self._made is None or self._made[0] is not pair_NK or self._made[1] != pair_NK._version:
            self._made = pair_NK, pair_NK._version, PairPattern.of(pair_NK, self.lags)
        return self._made[2]

    def _values(self, tokens: AssetTokens) -> Tensor:
        """(U, M, H, J); 0 at a bar without a candle."""
        return tokens.values_UMD(self.value).unflatten(-1, (-1, self.head_width))

    def _sparse_context(self, tokens: AssetTokens, ahead: tuple[int, int] | None = None) -> Tensor:
        """(B, N, H, J), by distinct mask where one exponential does not serve all rows."""
        bars, pattern, value_UMHJ = tokens.bars, self._pattern, self._values(tokens).float()
        logit_HNK = self.logit_HNK + self._start_NK
        if not bars.all_readable and self._top_sources is None:
            # A row's softmax differs from that of all pairs by its normaliser alone; see LagBiasAttention._masked_context.
            power_HNK = (logit_HNK - logit_HNK.amax(dim=-1, keepdim=True).detach()).exp()
            readable_BNK = bars.readable_BN[:, pattern.source_NK]
            total_BNH = (power_HNK.permute(1, 0, 2) @ readable_BNK.permute(1, 2, 0).float()).permute(2, 0, 1)
            reads_BN1 = readable_BNK.any(dim=-1)[..., None]
            if not bool((reads_BN1 & (total_BNH < MIN_TOTAL)).any()):
                mixed_BNHJ = sparse_products(power_HNK, value_UMHJ, bars.place_BL, bars.readable_BN, pattern, ahead)
                return self.gain_HN.T[..., None] * mixed_BNHJ / total_BNH.masked_fill(~reads_BN1, 1.0)[..., None]
        weight_ZHNK, masks = self.pair_weights(tokens)
        if masks is None:
            mixed_BNHJ = sparse_products(weight_ZHNK[0], value_UMHJ, bars.place_BL, None, pattern, ahead)
        else:
            rows_Z = rows_by_mask(bars.place_BL, masks)
            by_mask = [
                sparse_products(weight_HNK, value_UMHJ, place_BL, None, pattern, ahead)
                for weight_HNK, place_BL in zip(weight_ZHNK, rows_Z, strict=True)
            ]
            mixed_BNHJ = rows_back(torch.cat(by_mask), masks)
        return self.gain_HN.T[..., None] * mixed_BNHJ

    def _gathered_context(self, tokens: AssetTokens) -> Tensor:
        """(B, N, H, J), a few rows at a time."""
        bars, pattern, value_UMHJ = tokens.bars, self._pattern, self._values(tokens)
        # Without content weights are few, and made once for all chunks.
        weight_ZHNK, masks = self.pair_weights(tokens) if self.query is None else (None, None)
        place_B = bars.place_BL[:, 0] if masks is None else masks.place_B

        def attend(place_GL: Tensor, readable_GN: Tensor, mask_G: Tensor) -> Tensor:
            weight_XHNK = weight_ZHNK
            if weight_XHNK is None:
                part = RecentBars(bars.bar_UNC, place_GL, readable_GN, known_readable=bars.all_readable)
                weight_XHNK = self.pair_weights(AssetTokens(tokens.token_UMD, part))[0]
            elif masks is not None:
                weight_XHNK = weight_XHNK[mask_G]
            return self.gain_HN.T[..., None] * gathered_products(weight_XHNK, value_UMHJ, place_GL, pattern)

        a_row = self.logit_HNK.numel() * self.head_width
        return in_row_chunks(attend, bars.place_BL, bars.readable_BN, place_B, logits_per_row=a_row)

    def pair_weights(self, tokens: AssetTokens) -> tuple[Tensor, RowMasks | None]:
        """(Z, H, N, K) weights, and which rows have each mask; none where Z is 1, alike for all, or B.

        Rows that may read the same assets share one softmax, unless content gives each row logits of its own.
        """
        pattern, masks = self._pattern, None
        logit_ZHNK = (self.logit_HNK + self._start_NK)[None]
        if self.query is not None and self.key is not None:
            query_BHND = self.by_head(self.query(tokens.newest_BND))
            key_UMHD = self.key(tokens.token_UMD).unflatten(-1, (self._heads, -1))
            key_BNKHD = gathered(key_UMHD, tokens.bars.place_BL, pattern)
            content_BHNK = torch.einsum("bhnd,bnkhd->bhnk", query_BHND, key_BNKHD)
            logit_ZHNK = logit_ZHNK + content_BHNK / math.sqrt(key_UMHD.shape[-1])
        if tokens.bars.all_readable:
            weight_ZHNK = logit_ZHNK.softmax(dim=-1)
        else:
            masks = tokens.bars.masks if self.query is None else None
            readable_ZM = tokens.bars.readable_BN if masks is None else masks.readable_ZM
            weight_ZHNK = masked_softmax(logit_ZHNK, readable_ZM[:, pattern.source_NK][:, None])
        if self._top_sources is None:
            return weight_ZHNK, masks
        sparse_ZHNK = self._of_top_sources(weight_ZHNK.detach(), pattern)
        # Straight through, as in SparseLagAttention.
        return (weight_ZHNK + (sparse_ZHNK - weight_ZHNK).detach() if self.training else sparse_ZHNK), masks

    def _of_top_sources(self, weight_ZHNK: Tensor, pattern: PairPattern) -> Tensor:
        """The weights of each head's sources with the largest mass, renormalised; 0 elsewhere."""
        same_NKX = (pattern.source_NK[:, :, None] == pattern.source_NK[:, None, :]).float()
        first_NK = same_NKX.tril(-1).sum(dim=-1) == 0
        mass_ZHNK = torch.einsum("zhnk,nkx->zhnx", weight_ZHNK, same_NKX)
        # A source's mass stands at the first of its pairs.
        chosen = mass_ZHNK.masked_fill(~first_NK, -1.0).topk(min(self._top_sources or 1, weight_ZHNK.shape[-1]), dim=-1).indices
        kept_ZHNK = torch.zeros_like(weight_ZHNK).scatter_(-1, chosen, 1.0) * first_NK
        kept_ZHNK = weight_ZHNK * torch.einsum("zhnk,nkx->zhnx", kept_ZHNK, same_NKX)
        return kept_ZHNK / kept_ZHNK.sum(dim=-1, keepdim=True).clamp_min(1e-12)


def _multiplies_sparse(device: torch.device) -> bool:
    return device.type == "cpu" and torch.backends.mkl.is_available()


def _newest(assets: int, lags: int, pairs: int) -> Tensor:
    """(N, K) each target's pairs with the newest bars of the others, nearest lag first."""
    other_NM = (torch.arange(assets)[:, None] + torch.arange(1, max(assets, 2))) % assets
    pair_NLM = other_NM[:, None, :] * lags + torch.arange(lags)[:, None]
    return pair_NLM.flatten(1)[:, :pairs].sort(dim=-1).values
