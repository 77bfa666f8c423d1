"""Encoders of the network baselines: each turns windows into one summary an asset, as the temporal encoder does.

Axes: B decision rows, N assets, L bars of a window, C channels of a bar, D width, G = B * N sequences.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape

__all__ = ["DecomposedLinear", "MultiAssetGRU", "SingleAssetLSTM"]

_TREND_BARS = 25
"""Bars in the mean that is DLinear's trend."""


@ENCODERS.register("lstm")
class SingleAssetLSTM(Encoder):
    """One LSTM over each asset's own bars, shared by all assets (Hochreiter and Schmidhuber, 1997)."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.recurrent = nn.LSTM(shape.channels, settings.width, batch_first=True)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        batch, assets, bars, channels = bar_BNLC.shape
        hidden_GLD, _ = self.recurrent(bar_BNLC.reshape(batch * assets, bars, channels))
        return hidden_GLD[:, -1].view(batch, assets, -1)


@ENCODERS.register("gru")
class MultiAssetGRU(Encoder):
    """One GRU over all assets' bars side by side (Cho et al., 2014): the others are inputs, not attended to."""

    reads_others = True

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self._assets = shape.assets
        self.recurrent = nn.GRU(shape.channels * shape.assets, settings.width, batch_first=True)
        self.part = nn.Linear(settings.width, shape.assets * settings.width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        hidden_BLD, _ = self.recurrent(bar_BNLC.transpose(1, 2).flatten(2))
        return self.part(functional.relu(hidden_BLD[:, -1])).view(len(bar_BNLC), self._assets, -1)


@ENCODERS.register("dlinear")
class DecomposedLinear(Encoder):
    """Trend and remainder of each channel, each mapped linearly (DLinear: Zeng et al., 2023, "Are Transformers
    Effective for Time Series Forecasting?"). The trend is a mean of past bars only, so the map stays causal."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self._span = min(_TREND_BARS, settings.lookback)
        self.trend = nn.Linear(settings.lookback * shape.channels, settings.width)
        self.remainder = nn.Linear(settings.lookback * shape.channels, settings.width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        summed_BNLC = bar_BNLC.cumsum(dim=2)
        before_BNLC = functional.pad(summed_BNLC, (0, 0, self._span, 0))[:, :, : bar_BNLC.shape[2]]
        bars_L = torch.arange(1, bar_BNLC.shape[2] + 1, device=bar_BNLC.device).clamp_max(self._span)
        trend_BNLC = (summed_BNLC - before_BNLC) / bars_L[:, None]
        return self.trend(trend_BNLC.flatten(2)) + self.remainder((bar_BNLC - trend_BNLC).flatten(2))
