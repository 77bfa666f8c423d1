"""The interface of what reads an asset's own window, and the registry of them.

Axes: B decision rows, N assets, L bars of a window, C channels of a bar, D width.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.shape import NetworkShape
from crossattn_core.registry import Registry

__all__ = ["ENCODERS", "Encoder"]


class Encoder(nn.Module, ABC):
    """Windows to one summary an asset; built from the network's shape and the model's knobs."""

    reads_others = False
    """Whether an asset's summary rests on other assets' windows too."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__()

    def fit_graph(self, return_TN: NDArray[np.float64]) -> None:
        """Take which assets are neighbours from the log returns of the training bars, before the weights are learnt; an encoder
        without a graph takes nothing."""

    @abstractmethod
    def forward(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, L, C) to (B, N, D)."""


ENCODERS = Registry[type[Encoder]]("encoder of the own branch", "crossattn_core.model.encoders")
"""Values of ``model.own_branch``."""
