"""Graph attention over assets whose volatilities move together: the graph-attention portfolio, compact.

After K. Korangi, C. Mues, C. Bravo, "Large-scale Time-Varying Portfolio Optimisation using Graph Attention Networks" (2024,
arXiv:2407.15532): a graph from distance correlations (see model/graph.py), graph attention (P. Velickovic et al., 2018) over it,
trained on the Sharpe ratio. Smaller than theirs: a window of bars for features, one graph a fit, and this project's weights
head (see heads.py) and loss.

Axes: B decision rows, N assets that read, M assets that are read (the same), L bars, C channels, D width, H heads, K head width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.graph import dependence_graph
from crossattn_core.model.shape import NetworkShape, by_head

__all__ = ["GraphAttention"]


@ENCODERS.register("graph_attention")
class GraphAttention(Encoder):
    """Windows to one summary an asset; an asset reads itself and its neighbours in the graph of the training rows."""

    reads_others = True

    neighbour_NM: Tensor

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.embed = nn.Linear(settings.lookback * shape.channels, settings.width)
        self.layers = nn.ModuleList(
            [_GraphLayer(settings.width, settings.heads, settings.dropout) for _ in range(settings.layers)]
        )
        # Part of the checkpoint: a model is read back with the graph that it was fitted on. Until then all are neighbours.
        self.register_buffer("neighbour_NM", torch.ones(shape.assets, shape.assets, dtype=torch.bool))

    def fit_graph(self, return_TN: NDArray[np.float64]) -> None:
        self.neighbour_NM.copy_(torch.from_numpy(dependence_graph(return_TN)))

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        token_BND = functional.elu(self.embed(bar_BNLC.flatten(2)))
        for layer in self.layers:
            token_BND = layer(token_BND, self.neighbour_NM)
        return token_BND


class _GraphLayer(nn.Module):
    """softmax over neighbours of LeakyReLU(a . W x_n + b . W x_m), a mean of W x_m under it, and the token kept beside it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.value = nn.Linear(width, width, bias=False)
        self.reads = nn.Linear(width, heads, bias=False)
        self.is_read = nn.Linear(width, heads, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, token_BND: Tensor, neighbour_NM: Tensor) -> Tensor:
        value_BMD = self.value(token_BND)
        reads_BHN, is_read_BHM = self.reads(value_BMD).transpose(1, 2), self.is_read(value_BMD).transpose(1, 2)
        logit_BHNM = functional.leaky_relu(reads_BHN[..., None] + is_read_BHM[:, :, None], 0.2)
        # An asset is its own neighbour, so no softmax is empty.
        weight_BHNM = self.dropout(logit_BHNM.masked_fill(~neighbour_NM, -1e9).softmax(dim=-1))
        mixed_BND = (weight_BHNM @ by_head(value_BMD, self._heads)).transpose(1, 2).flatten(2)
        return self.norm(token_BND + functional.elu(mixed_BND))
