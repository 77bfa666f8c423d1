"""Several agents, each with its own scale of trends, attending over assets and over time: MASAAT, compact.

After Z. Li and V. Tam, "Developing An Attention-Based Ensemble Learning Framework for Financial Portfolio Optimisation" (2024,
arXiv:2404.08935). One agent reads the bars, the others read directional changes: a trend holds until the price has come back
by a threshold from its extreme. Each agent attends over assets (one token an asset, its whole window) and over time (one
token a patch, all assets), lets asset tokens read time tokens, and the agents' portfolios are averaged. Smaller than theirs:
this project's weights head (see heads.py) and Sharpe loss in place of policy gradients.

All agents are computed at once: every one has weights of its own, none waits for another.

Axes: A agents, B decision rows, N assets, L bars, C channels, P patches, D width, X channels of an agent.
"""

import torch
from torch import Tensor, nn

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.agent_layers import AgentAttention, AgentLinear, AgentNorm, AgentTransformer
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape

__all__ = ["MultiAgentAttention", "directional_change"]

_THRESHOLDS = (2.0, 4.0, 8.0)
"""Deviations of a bar's return by which a price must come back for its trend to end, an agent each."""


@ENCODERS.register("multi_agent")
class MultiAgentAttention(Encoder):
    """Windows of all assets to one summary an asset: the mean over the agents."""

    reads_others = True

    threshold_A11: Tensor

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        if shape.return_channel is None:
            raise ExperimentError("own_branch 'multi_agent' follows prices by the feature 'log_return'; add it to features.names")
        self._return_channel = shape.return_channel
        self.register_buffer("threshold_A11", torch.tensor(_THRESHOLDS)[:, None, None], persistent=False)
        agents, width = 1 + len(_THRESHOLDS), settings.width
        # The agent of bars has more channels than those of trends: it embeds apart.
        self.embed_bars = _AgentTokens(1, shape.assets, shape.channels, settings)
        self.embed_trends = _AgentTokens(len(_THRESHOLDS), shape.assets, 2, settings)
        self.over_assets, self.over_time = AgentTransformer(agents, settings), AgentTransformer(agents, settings)
        self.reads_time = AgentAttention(agents, width, settings.heads)
        self.norm = AgentNorm(agents, width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        trend_ABNLX = directional_change(bar_BNLC[..., self._return_channel], self.threshold_A11)
        of_bars, of_trends = self.embed_bars(bar_BNLC[None]), self.embed_trends(trend_ABNLX)
        asset_ABND, time_ABPD = (torch.cat(pair) for pair in zip(of_bars, of_trends, strict=True))
        asset_ABND = self.over_assets(asset_ABND)
        return self.norm(asset_ABND + self.reads_time(asset_ABND, self.over_time(time_ABPD))).mean(dim=0)


@torch.no_grad()
def directional_change(return_BNL: Tensor, threshold: float | Tensor) -> Tensor:
    """(B, N, L, 2) the trend in force at each bar, 1, -1 or 0 before the first, and the way from its extreme over ``threshold``.

    A trend turns at the bar whose price lies ``threshold`` from the trend's extreme; bars after it play no part.

    Args:
        threshold: several as (A, 1, 1), each followed at once, give (A, B, N, L, 2).

    >>> directional_change(torch.tensor([[[1.0, 1.5, 1.0, -1.0, -1.5]]]), 2.0)[0, 0, :, 0].tolist()
    [0.0, 1.0, 1.0, 1.0, -1.0]
    """
    price_LBN = return_BNL.cumsum(dim=-1).movedim(-1, 0).contiguous()
    trend_BN = torch.zeros_like(price_LBN[0] * threshold)
    highest_BN, lowest_BN = torch.zeros_like(trend_BN), torch.zeros_like(trend_BN)
    trends, ways = [], []
    for price_BN in price_LBN:
        highest_BN, lowest_BN = torch.maximum(highest_BN, price_BN), torch.minimum(lowest_BN, price_BN)
        rises_BN = (trend_BN <= 0) & (price_BN - lowest_BN >= threshold)
        falls_BN = (trend_BN >= 0) & (highest_BN - price_BN >= threshold)
        turns_BN = rises_BN | falls_BN
        trend_BN = torch.where(rises_BN, 1.0, torch.where(falls_BN, -1.0, trend_BN))
        # A new trend has its extreme where it begins.
        highest_BN, lowest_BN = torch.where(turns_BN, price_BN, highest_BN), torch.where(turns_BN, price_BN, lowest_BN)
        trends.append(trend_BN)
        ways.append((price_BN - torch.where(trend_BN >= 0, highest_BN, lowest_BN)) / threshold)
    return torch.stack([torch.stack(trends, dim=-1), torch.stack(ways, dim=-1)], dim=-1)


class _AgentTokens(nn.Module):
    """One token an asset, its whole window, and one token a patch, all assets, for each of some agents."""

    def __init__(self, agents: int, assets: int, channels: int, settings: ModelSettings) -> None:
        super().__init__()
        width, self._patch = settings.width, settings.patch
        self.asset_token = AgentLinear(agents, settings.lookback * channels, width)
        self.time_token = AgentLinear(agents, settings.patch * assets * channels, width)
        self.identity_AND = nn.Parameter(torch.empty(agents, assets, width))
        self.position_APD = nn.Parameter(torch.empty(agents, settings.lookback // settings.patch, width))
        for embedding in (self.identity_AND, self.position_APD):
            nn.init.normal_(embedding, std=0.02)

    def forward(self, view_ABNLX: Tensor) -> tuple[Tensor, Tensor]:
        """(A, B, N, L, X) to tokens (A, B, N, D) and (A, B, P, D)."""
        patch_ABPE = view_ABNLX.transpose(2, 3).unflatten(2, (-1, self._patch)).flatten(3)
        asset_ABND = self.asset_token(view_ABNLX.flatten(3)) + self.identity_AND[:, None]
        return asset_ABND, self.time_token(patch_ABPE) + self.position_APD[:, None]
