"""Several agents, each with its own scale of trends, attending over assets and over time: MASAAT, compact.

After Z. Li and V. Tam, "Developing An Attention-Based Ensemble Learning Framework for Financial Portfolio Optimisation" (2024,
arXiv:2404.08935). One agent reads the bars, the others read directional changes: a trend holds until the price has come back
by a threshold from its extreme. Each agent attends over assets (one token an asset, its whole window) and over time (one
token a patch, all assets), lets asset tokens read time tokens, and the agents' portfolios are averaged. Smaller than theirs:
this project's weights head (see heads.py) and Sharpe loss in place of policy gradients.

Axes: B decision rows, N assets, L bars, C channels, P patches, D width, X channels of an agent.
"""

import torch
from torch import Tensor, nn

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.encoders.transformers import transformer
from crossattn_core.model.shape import NetworkShape

__all__ = ["MultiAgentAttention", "directional_change"]

_THRESHOLDS = (2.0, 4.0, 8.0)
"""Deviations of a bar's return by which a price must come back for its trend to end, an agent each."""


@ENCODERS.register("multi_agent")
class MultiAgentAttention(Encoder):
    """Windows of all assets to one summary an asset: the mean over the agents."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        if shape.return_channel is None:
            raise ExperimentError("own_branch 'multi_agent' follows prices by the feature 'log_return'; add it to features.names")
        self._return_channel = shape.return_channel
        channels = (shape.channels, *(2 for _ in _THRESHOLDS))
        self.agents = nn.ModuleList([_Agent(shape.assets, each, settings) for each in channels])

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        return_BNL = bar_BNLC[..., self._return_channel]
        views = [bar_BNLC, *(directional_change(return_BNL, threshold) for threshold in _THRESHOLDS)]
        return torch.stack([agent(view_BNLX) for agent, view_BNLX in zip(self.agents, views, strict=True)]).mean(dim=0)


def directional_change(return_BNL: Tensor, threshold: float) -> Tensor:
    """(B, N, L, 2) the trend in force at each bar, 1, -1 or 0 before the first, and the way from its extreme over ``threshold``.

    A trend turns at the bar whose price lies ``threshold`` from the trend's extreme; bars after it play no part.

    >>> directional_change(torch.tensor([[[1.0, 1.5, 1.0, -1.0, -1.5]]]), 2.0)[0, 0, :, 0].tolist()
    [0.0, 1.0, 1.0, 1.0, -1.0]
    """
    price_LBN = return_BNL.detach().cumsum(dim=-1).movedim(-1, 0)
    trend_BN = torch.zeros_like(price_LBN[0])
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


class _Agent(nn.Module):
    """Attention over assets and over time, and asset tokens that read time tokens."""

    def __init__(self, assets: int, channels: int, settings: ModelSettings) -> None:
        super().__init__()
        width, self._patch = settings.width, settings.patch
        self.asset_token = nn.Linear(settings.lookback * channels, width)
        self.time_token = nn.Linear(settings.patch * assets * channels, width)
        self.identity_ND = nn.Parameter(torch.zeros(assets, width))
        self.position_PD = nn.Parameter(torch.zeros(settings.lookback // settings.patch, width))
        self.over_assets, self.over_time = transformer(settings), transformer(settings)
        self.reads_time = nn.MultiheadAttention(width, settings.heads, dropout=settings.dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, view_BNLX: Tensor) -> Tensor:
        batch, assets, bars, channels = view_BNLX.shape
        asset_BND = self.over_assets(self.asset_token(view_BNLX.flatten(2)) + self.identity_ND)
        patch_BPE = view_BNLX.transpose(1, 2).reshape(batch, bars // self._patch, self._patch * assets * channels)
        time_BPD = self.over_time(self.time_token(patch_BPE) + self.position_PD)
        read_BND, _ = self.reads_time(asset_BND, time_BPD, time_BPD, need_weights=False)
        return self.norm(asset_BND + read_BND)
