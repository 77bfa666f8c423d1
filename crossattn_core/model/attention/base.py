"""The interface of every cross-attention, and the registry of them: tokens in, context and the weights used out.

Axes: B decision rows, U distinct bars of the batch, N target assets, M source assets (the same assets),
L lags (0 is the newest bar), D width, H heads, K head width (D = H * K).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.shape import NetworkShape, by_head
from crossattn_core.panel.windows import RecentBars, taken
from crossattn_core.registry import Registry

__all__ = ["ATTENTION", "AssetTokens", "CrossAttention", "allowed_sources", "masked_softmax"]


@dataclass(frozen=True)
class AssetTokens:
    """What a cross-attention reads: one token per distinct bar and asset, made of that bar alone."""

    token_UMD: Tensor
    bars: RecentBars

    @property
    def fresh_UM(self) -> Tensor:
        """1 where the asset had a candle at the bar; a bar without one may draw weight, but its value is 0."""
        return self.bars.bar_UNC[..., -1]

    def values_UMD(self, value: nn.Module) -> Tensor:
        """The value of each token under the map ``value``: 0 at a bar without a candle."""
        return value(self.token_UMD) * self.fresh_UM[..., None]

    @property
    def newest_BND(self) -> Tensor:
        """Each asset's token at the decision row: the target's query."""
        if self.bars.holder_UR is not None:
            return self.bars.spread(self.token_UMD)[:, 0]
        return taken(self.token_UMD, self.bars.place_BL[:, 0])

    def later(self, steps: int) -> "AssetTokens":
        """The same tokens seen from ``steps`` bars later, the bars since then empty."""
        bars, empty = self.bars, len(self.bars.bar_UNC)
        empty_BL = bars.place_BL.new_full((len(bars.place_BL), steps), empty)
        moved = RecentBars(
            torch.cat([bars.bar_UNC, torch.zeros_like(bars.bar_UNC[:1])]),
            torch.cat([empty_BL, bars.place_BL[:, : bars.place_BL.shape[1] - steps]], dim=1),
            bars.readable_BN,
            known_readable=bars.known_readable,
            known_masks=bars.known_masks,
        )
        return AssetTokens(torch.cat([self.token_UMD, torch.zeros_like(self.token_UMD[:1])]), moved)


class CrossAttention(nn.Module, ABC):
    """Mixes other assets' tokens into each asset; an asset never reads itself here.

    A variant is built from the network's shape and the model's knobs. The network initialises its linear maps anew.
    """

    starts_from_pairs = False
    """Whether ``start_from`` does anything: the variant has a learned logit for every (target, source, lag)."""
    reads_others = True
    """Off for the ablation that reads nothing: it has no weights to show."""

    head_width: int
    """K, the width of one head's context."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__()
        self._heads, self.head_width = settings.heads, settings.width // settings.heads
        # A diffuse softmax over S pairs averages independent values down by sqrt(S): undo it, so that learning starts.
        self._gain = math.sqrt(max(shape.assets - 1, 1) * settings.max_lag)

    @classmethod
    def of(cls, shape: NetworkShape, settings: ModelSettings) -> "CrossAttention":
        """The variant for such a universe; one whose logits would not fit a large one may give a form that reads fewer pairs."""
        return cls(shape, settings)

    @abstractmethod
    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """Return the context (B, N, H, K) and the weights used (B, H, N, M, L), before any dropout.

        Each target's weights sum to one over (M, L); a target with nothing readable has weights and context 0.
        Weight on an unreadable asset is exactly 0.
        """

    def by_head(self, value_BXD: Tensor) -> Tensor:
        """(B, X, D) to (B, H, X, K)."""
        return by_head(value_BXD, self._heads)

    def context(self, tokens: AssetTokens) -> Tensor:
        """The context alone, for a caller that does not look at the weights: they need not be spelled out."""
        return self(tokens)[0]

    def ahead(self, tokens: AssetTokens, first: int, last: int) -> Tensor:
        """(B, N, H, K) sum of the contexts that rows ``first`` .. ``last`` bars later will have, as far as known now.

        Bars that have not happened are empty: what a lead of several hours means for later bars is known today.
        """
        steps = [self.context(tokens.later(step)) for step in range(first, min(last, tokens.bars.place_BL.shape[1] - 1) + 1)]
        return torch.stack(steps).sum(dim=0) if steps else torch.zeros_like(self.context(tokens))

    def moved_by_source(self, now: AssetTokens, past: AssetTokens) -> Iterator[Tensor] | None:
        """(B, N, H, K) move of the context where source 0, 1, ... says what it says in ``past``, equally many rows as far
        apart, and is as readable as now; none where weights rest on tokens, so that one source's tokens move them all.
        """
        return None

    def logit_parameters(self) -> list[nn.Parameter]:
        """Parameters that are attention logits themselves: trained faster, never decayed."""
        return []

    def start_from(self, share_HNX: Tensor, *, learned: bool) -> None:
        """Start with these shares of the weight on screened pairs and the rest as without them, where logits can say so.

        Args:
            share_HNX: at most 1 for each head and target (training/screening.py); X is (L, M), or the candidate pairs.
            learned: the logits were learned before: only targets whose screened pairs have hardly any weight start anew.
        """

    def prepare(self, readable_GM: Tensor | None, drift: float) -> bool:
        """Decide now, for all rows with these masks, what would be asked of every batch; none: ask again.

        Args:
            drift: how far the difference of two logits may grow before the next call.

        Returns:
            whether batches are computed in another form than before.
        """
        return False

    def share_values(self, first: int, second: int) -> None:
        """At the start, give head ``second`` of the map ``value`` the rows of head ``first``, where there is such a map."""
        value = getattr(self, "value", None)
        if isinstance(value, nn.Linear):
            rows_HKD = value.weight.data.view(self._heads, -1, value.in_features)
            rows_HKD[second] = rows_HKD[first]


ATTENTION = Registry[type[CrossAttention]]("attention variant", "crossattn_core.model.attention")
"""Values of ``model.cross_attention``."""


def allowed_sources(readable_BM: Tensor) -> Tensor:
    """(B, N, M) which asset may read which: every readable one except itself."""
    assets = readable_BM.shape[1]
    other_NM = ~torch.eye(assets, dtype=torch.bool, device=readable_BM.device)
    return readable_BM[:, None, :] & other_NM


def masked_softmax(logit: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the last axis among ``allowed``; a row with none allowed is all zeros, never NaN."""
    # A finite floor instead of -inf: exp underflows to exactly 0 beside any allowed logit, and gradients stay finite.
    weight = logit.masked_fill(~allowed, -1e9).softmax(dim=-1)
    return weight * allowed
