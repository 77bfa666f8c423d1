"""What a fit learns from, and the batches of an epoch of it.

Axes: B decision rows of a batch, R rows in the order of an epoch, T bars, N assets, O outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossattn_core.panel.splits import Split
from crossattn_core.panel.windows import RecentPlaces, Windows
from crossattn_core.training.objective import Objective

__all__ = ["Batch", "Examples", "as_tensor"]

_BARS = 128
"""Distinct bars of padded batches are a multiple of this: another order of the rows seldom needs another size."""


@dataclass(frozen=True)
class Batch:
    """Rows that are learned from together, on the device of the fit."""

    row_B: Tensor
    recent: RecentPlaces
    """The newest bars behind them, by index."""


@dataclass(frozen=True)
class Examples:
    """What a fit learns from; rows are panel rows."""

    windows: Windows
    train_target_TNO: Tensor
    """What the objective is measured against, as far as training may know it, NaN elsewhere."""
    validation_target_TNO: Tensor
    weight_T: Tensor
    objective: Objective
    overlap_O: NDArray[np.int64]
    """Bars that neighbouring outcomes of an output share, at least 1."""
    split: Split

    def batches(self, order_R: Tensor, size: int, lags: int, *, padded: bool = False) -> Iterator[Batch]:
        """The rows ``order_R`` (on the CPU) in batches of ``size``, the last with what is left.

        On the CPU each is made when its turn comes. A device would wait for every copy: there all of an epoch's go at once.

        Args:
            padded: to equally many distinct bars, the last of them repeated, with tables of which rows hold each.
        """
        device = self.weight_T.device
        batches = (Batch(row_B, self.windows.places(row_B, lags)) for row_B in order_R.split(size))
        if padded:
            batches = alike(list(batches))
        return iter(batches) if device.type == "cpu" else iter(on_device(list(batches), device))

    def to(self, device: torch.device) -> "Examples":
        """The same, resident on ``device``; rows stay on the CPU, where they are shuffled."""
        names = ("windows", "train_target_TNO", "validation_target_TNO", "weight_T", "objective")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def alike(batches: list[Batch]) -> list[Batch]:
    """The same with tables of the same sizes: distinct bars in steps of ``_BARS``, rows and lags that share one."""
    bars = max(len(batch.recent.bar_U) for batch in batches)
    sharing = max(int(batch.recent.place_BL.flatten().bincount().max()) for batch in batches)
    bars, sharing = -(-bars // _BARS) * _BARS, max(sharing, batches[0].recent.place_BL.shape[1])
    return [Batch(batch.row_B, batch.recent.padded(bars, sharing)) for batch in batches]


def on_device(batches: list[Batch], device: torch.device) -> list[Batch]:
    """The same on ``device``: one copy of each table for all batches."""
    names = [name for name in ("bar_U", "place_BL", "holder_UR") if getattr(batches[0].recent, name) is not None]
    rows = _moved([batch.row_B for batch in batches], device)
    tables = {name: _moved([getattr(batch.recent, name) for batch in batches], device) for name in names}
    return [
        Batch(rows[k], replace(batch.recent, **{name: table[k] for name, table in tables.items()}))
        for k, batch in enumerate(batches)
    ]


def _moved(parts: list[Tensor], device: torch.device) -> list[Tensor]:
    whole = torch.cat([part.reshape(-1) for part in parts]).to(device)
    pieces = whole.split([part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def as_tensor(value: NDArray[np.float32]) -> Tensor:
    """A float32 tensor of its own memory."""
    return torch.from_numpy(np.array(value, dtype=np.float32))
