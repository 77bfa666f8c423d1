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
from crossattn_core.model.attention.row_masks import distinct_masks, mix_by_mask
from crossattn_core.model.shape import NetworkShape

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
            self.register_buffer(f"may_{level}_NG", may_NG, persistent=False)
            if level in self._level_H:
                own_heads = self._level_H.count(level)
                self.logits[level] = nn.Parameter(torch.zeros(own_heads, assets, groups, lags))

    def logit_parameters(self) -> list[nn.Parameter]:
        return list(self.logits.values())

    def by_level(self, tokens: AssetTokens) -> dict[str, Tensor]:
        """Level -> (B, its heads, N, G, L) weights over its groups; a target without a readable group has zeros."""
        readable_ZM, place_B = distinct_masks(tokens.bars.readable_BN)
        return {level: self._group_weights(level, self._members(level, readable_ZM))[place_B] for level in self.logits}

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """As every cross-attention; a group's weight is spread evenly over its readable members."""
        weight_ZHNML, place_B = self._pair_weights(tokens)
        return self._context(weight_ZHNML, place_B, tokens), weight_ZHNML[place_B]

    def context(self, tokens: AssetTokens) -> Tensor:
        return self._context(*self._pair_weights(tokens), tokens)

    def _members(self, level: str, readable_ZM: Tensor) -> Tensor:
        """(Z, N, G) how many readable assets beside the target each group has; 0 where the target may not read it."""
        group_M, may_NG = getattr(self, f"group_{level}_M"), getattr(self, f"may_{level}_NG")
        own_ZN = readable_ZM.float()
        count_ZG = own_ZN.new_zeros(len(own_ZN), may_NG.shape[1]).index_add_(1, group_M, own_ZN)
        # At the level of assets a target is its own group, which it may not read anyway.
        own_ZNG = own_ZN[..., None] * functional.one_hot(group_M, may_NG.shape[1])
        return (count_ZG[:, None, :] - own_ZNG) * may_NG

    def _group_weights(self, level: str, members_ZNG: Tensor) -> Tensor:
        """(Z, its heads, N, G, L) softmax over the groups with a member and their lags."""
        logit_HNGL = self.logits[level]
        allowed_Z1NS = (members_ZNG > 0).repeat_interleave(logit_HNGL.shape[-1], dim=-1)[:, None]
        return masked_softmax(logit_HNGL.flatten(2), allowed_Z1NS).unflatten(-1, logit_HNGL.shape[-2:])

    def _pair_weights(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """(Z, H, N, M, L) of each distinct mask, and (B,) the mask of each row."""
        readable_ZM, place_B = distinct_masks(tokens.bars.readable_BN)
        other_NM = ~torch.eye(readable_ZM.shape[1], dtype=torch.bool, device=readable_ZM.device)
        read_ZNM = readable_ZM[:, None, :] & other_NM
        spread: dict[str, Iterator[Tensor]] = {}
        for level in self.logits:
            members_ZNG, group_M = self._members(level, readable_ZM), getattr(self, f"group_{level}_M")
            share_ZHNGL = self._group_weights(level, members_ZNG) / members_ZNG.clamp_min(1.0)[:, None, :, :, None]
            spread[level] = iter((share_ZHNGL[:, :, :, group_M] * read_ZNM[:, None, ..., None]).unbind(dim=1))
        return torch.stack([next(spread[level]) for level in self._level_H], dim=1), place_B

    def _context(self, weight_ZHNML: Tensor, place_B: Tensor, tokens: AssetTokens) -> Tensor:
        """(B, N, H, K) weighted values, one matrix product a head and mask."""
        value_BMLHK = tokens.bars.spread(tokens.values_UMD(self.value)).unflatten(-1, (self._heads, -1)).transpose(1, 2)
        return self._gain * mix_by_mask(weight_ZHNML.flatten(3), place_B, value_BMLHK.flatten(1, 2))


def head_levels(heads: int) -> list[str]:
    """The level of each head, dealt out in turn.

    >>> head_levels(4)
    ['assets', 'sectors', 'markets', 'assets']
    """
    return [LEVELS[h % len(LEVELS)] for h in range(heads)]
