"""Hierarchical attention: assets, then sectors, then markets; the heads divide among the levels.

At the asset level a target reads the other assets of its own sector one by one; at the sector level the sectors of
its own market, each as the mean of its readable assets; at the market level the markets. Its own sector and market are
means without the target itself. Every level has learned logits over (target, group, lag), as lag_bias has over assets.

Axes: B decision rows, U distinct bars, N targets, M sources, G groups of a level, L lags, D width, H heads, K head width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, masked_softmax
from crossattn_core.model.attention.row_masks import mix_by_mask
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.row_masks import RowMasks

__all__ = ["LEVELS", "HierarchicalAttention", "head_levels"]

LEVELS = ("assets", "sectors", "markets")


@ATTENTION.register("hierarchical")
class HierarchicalAttention(CrossAttention):
    """Three levels of groups, each read by heads of its own."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        assets, lags, width, heads = shape.assets, settings.max_lag, settings.width, settings.heads
        self._level_H = head_levels(heads)
        self.value = nn.Linear(width, width, bias=False)
        sector_N, market_N = torch.tensor(shape.sectors), torch.tensor(shape.markets)
        groups_N = (torch.arange(assets), sector_N, market_N)
        market_of_sector = {int(s): int(m) for s, m in zip(sector_N, market_N, strict=True)}
        self.logits = nn.ParameterDict()
        for level, group_N in zip(LEVELS, groups_N, strict=True):
            groups = int(group_N.max()) + 1
            # Which group a target may read at this level, readable or not.
            if level == "assets":
                may_NG = (sector_N[:, None] == sector_N[None, :]) & ~torch.eye(assets, dtype=torch.bool)
            elif level == "sectors":
                market_G = torch.tensor([market_of_sector.get(g, -1) for g in range(groups)])
                may_NG = market_N[:, None] == market_G[None, :]
            else:
                may_NG = torch.ones(assets, groups, dtype=torch.bool)
            self.register_buffer(f"group_{level}_M", group_N, persistent=False)
            self.register_buffer(f"member_{level}_MG", functional.one_hot(group_N, groups).float(), persistent=False)
            self.register_buffer(f"may_{level}_NG", may_NG, persistent=False)
            if level in self._level_H:
                own_heads = self._level_H.count(level)
                self.logits[level] = nn.Parameter(torch.zeros(own_heads, assets, groups, lags))

    def logit_parameters(self) -> list[nn.Parameter]:
        return list(self.logits.values())

    def by_level(self, tokens: AssetTokens) -> dict[str, Tensor]:
        """Level -> (B, its heads, N, G, L) weights over its groups; a target without a readable group has zeros."""
        masks = tokens.bars.masks
        weights = {level: self._group_weights(level, self._members(level, masks.readable_ZM)) for level in self.logits}
        return {level: weight_ZHNGL[masks.place_B] for level, weight_ZHNGL in weights.items()}

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """As every cross-attention; a group's weight is spread evenly over its readable members."""
        weight_ZHNML, masks = self._pair_weights(tokens)
        return self._context(weight_ZHNML, masks, tokens), weight_ZHNML[masks.place_B]

    def context(self, tokens: AssetTokens) -> Tensor:
        return self._context(*self._pair_weights(tokens), tokens)

    def _members(self, level: str, readable_ZM: Tensor) -> Tensor:
        """(Z, N, G) how many readable assets beside the target each group has; 0 where the target may not read it."""
        # At the level of assets a target is its own group, which it may not read anyway.
        own_ZNG = readable_ZM[..., None] * getattr(self, f"member_{level}_MG")
        return (own_ZNG.sum(dim=1, keepdim=True) - own_ZNG) * getattr(self, f"may_{level}_NG")

    def _group_weights(self, level: str, members_ZNG: Tensor) -> Tensor:
        """(Z, its heads, N, G, L) softmax over the groups with a member and their lags."""
        logit_HNGL = self.logits[level]
        allowed_Z1NS = (members_ZNG > 0).repeat_interleave(logit_HNGL.shape[-1], dim=-1)[:, None]
        return masked_softmax(logit_HNGL.flatten(2), allowed_Z1NS).unflatten(-1, logit_HNGL.shape[-2:])

    def _pair_weights(self, tokens: AssetTokens) -> tuple[Tensor, RowMasks]:
        """(Z, H, N, M, L) of each distinct mask, and which rows have it."""
        masks = tokens.bars.masks
        readable_ZM = masks.readable_ZM
        other_NM = ~torch.eye(readable_ZM.shape[1], dtype=torch.bool, device=readable_ZM.device)
        read_ZNM = readable_ZM[:, None, :] & other_NM
        spread: dict[str, Iterator[Tensor]] = {}
        for level in self.logits:
            members_ZNG, group_M = self._members(level, readable_ZM), getattr(self, f"group_{level}_M")
            share_ZHNGL = self._group_weights(level, members_ZNG) / members_ZNG.clamp_min(1.0)[:, None, :, :, None]
            spread[level] = iter((share_ZHNGL[:, :, :, group_M] * read_ZNM[:, None, ..., None]).unbind(dim=1))
        return torch.stack([next(spread[level]) for level in self._level_H], dim=1), masks

    def _context(self, weight_ZHNML: Tensor, masks: RowMasks, tokens: AssetTokens) -> Tensor:
        """(B, N, H, K) weighted values, one matrix product a head and mask."""
        value_BMLHK = tokens.bars.spread(tokens.values_UMD(self.value)).unflatten(-1, (self._heads, -1)).transpose(1, 2)
        return self._gain * mix_by_mask(weight_ZHNML.flatten(3), masks, value_BMLHK.flatten(1, 2))


def head_levels(heads: int) -> list[str]:
    """The level of each head, dealt out in turn.

    >>> head_levels(4)
    ['assets', 'sectors', 'markets', 'assets']
    """
    return [LEVELS[h % len(LEVELS)] for h in range(heads)]
