"""Hierarchical attention: assets, then sectors, then markets; the heads divide among the levels.

At the asset level a target reads the other assets of its own sector one by one; at the sector level the sectors of
its own market, each as the mean of its readable assets; at the market level the markets. Its own sector and market are
means without the target itself. Every level has learned logits over (target, group, lag), as lag_bias has over assets.

Axes: B decision rows, U distinct bars, N targets, M sources, G groups of a level, L lags, D width, H heads, K head width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens, CrossAttention, masked_softmax
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
            member_GM = (torch.arange(groups)[:, None] == group_N[None, :]).float()
            # Which group a target may read at this level, readable or not.
            if level == "assets":
                may_NG = sector_N[:, None] == sector_N[None, :]
            elif level == "sectors":
                market_G = torch.tensor([market_of_sector.get(g, -1) for g in range(groups)])
                may_NG = market_N[:, None] == market_G[None, :]
            else:
                may_NG = torch.ones(assets, groups, dtype=torch.bool)
            other_NGM = member_GM[None] * (1 - torch.eye(assets))[:, None, :] * may_NG[..., None]
            self.register_buffer(f"other_{level}_NGM", other_NGM, persistent=False)
            if level in self._level_H:
                own_heads = self._level_H.count(level)
                self.logits[level] = nn.Parameter(torch.zeros(own_heads, assets, groups, lags))

    def logit_parameters(self) -> list[nn.Parameter]:
        return list(self.logits.values())

    def by_level(self, tokens: AssetTokens) -> dict[str, Tensor]:
        """Level -> (B, its heads, N, G, L) weights over its groups; a target without a readable group has zeros."""
        readable_BM = tokens.bars.readable_BN.float()
        weights: dict[str, Tensor] = {}
        for level, logit_HNGL in self.logits.items():
            allowed_BNG = torch.einsum("bm,ngm->bng", readable_BM, getattr(self, f"other_{level}_NGM")) > 0
            allowed_B1NS = allowed_BNG[:, None, :, :, None].expand(-1, 1, -1, -1, logit_HNGL.shape[-1]).flatten(3)
            flat_BHNS = logit_HNGL.flatten(2).expand(len(allowed_BNG), -1, -1, -1)
            weights[level] = masked_softmax(flat_BHNS, allowed_B1NS).unflatten(-1, logit_HNGL.shape[-2:])
        return weights

    def forward(self, tokens: AssetTokens) -> tuple[Tensor, Tensor]:
        """As every cross-attention; a group's weight is spread evenly over its readable members."""
        bars = tokens.bars
        readable_BM = bars.readable_BN.float()
        spread: dict[str, Iterator[Tensor]] = {}
        for level, weight_BHNGL in self.by_level(tokens).items():
            member_BNGM = getattr(self, f"other_{level}_NGM")[None] * readable_BM[:, None, None, :]
            share_BNGM = member_BNGM / member_BNGM.sum(dim=-1, keepdim=True).clamp_min(1.0)
            spread[level] = iter(torch.einsum("bhngl,bngm->bhnml", weight_BHNGL, share_BNGM).unbind(dim=1))
        weight_BHNML = torch.stack([next(spread[level]) for level in self._level_H], dim=1)
        value_BLMHK = bars.spread(tokens.values_UMD(self.value)).unflatten(-1, (self._heads, -1))
        value_BHSK = value_BLMHK.permute(0, 3, 2, 1, 4).flatten(2, 3)
        context_BHNK = self._gain * (weight_BHNML.flatten(3) @ value_BHSK)
        return context_BHNK.transpose(1, 2), weight_BHNML


def head_levels(heads: int) -> list[str]:
    """The level of each head, dealt out in turn.

    >>> head_levels(4)
    ['assets', 'sectors', 'markets', 'assets']
    """
    return [LEVELS[h % len(LEVELS)] for h in range(heads)]
