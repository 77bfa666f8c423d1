"""What a fit learns from, and the batches of an epoch of it.

Axes: B decision rows of a batch, R rows in the order of an epoch, T bars, N assets, O outputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossattn_core.panel.splits import Split
from crossattn_core.panel.windows import RecentPlaces, Windows
from crossattn_core.training.objective import Objective

__all__ = ["Batch", "Examples", "as_tensor"]

_BARS, _ROWS = 128, 16
"""Distinct bars of padded batches, and rows of a mask, are multiples of these: another order of the rows seldom needs another
size."""


@dataclass(frozen=True)
class Batch:
    """Rows that are learned from together, on the device of the fit."""

    row_B: Tensor
    recent: RecentPlaces
    """The newest bars behind them, by index."""

    @property
    def tables(self) -> list[Tensor]:
        """Every tensor of it, in the order of ``with_tables``."""
        recent = self.recent
        holders = [] if recent.holder_UR is None else [recent.holder_UR]
        return [self.row_B, recent.bar_U, recent.place_BL, *holders, *(() if recent.masks is None else recent.masks.tables)]

    def with_tables(self, tables: Sequence[Tensor]) -> "Batch":
        """The same with other tensors of the same sizes."""
        row_B, bar_U, place_BL, *rest = tables
        holder_UR = None if self.recent.holder_UR is None else rest.pop(0)
        masks = None if self.recent.masks is None else self.recent.masks.with_tables(*rest)
        return Batch(row_B, replace(self.recent, bar_U=bar_U, place_BL=place_BL, holder_UR=holder_UR, masks=masks))

    def is_like(self, other: "Batch") -> bool:
        """Whether the other's tables have the same sizes, and it is computed by the same kernels."""
        mine, others = self.recent.masks, other.recent.masks
        if (mine is None) != (others is None) or (mine is not None and others is not None and mine.rows_Z != others.rows_Z):
            return False
        return [table.shape for table in self.tables] == [table.shape for table in other.tables]


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
    """The same with tables of the same sizes: so many distinct bars and masks, so many rows that share one."""
    bars = max(len(batch.recent.bar_U) for batch in batches)
    sharing = max(int(batch.recent.place_BL.flatten().bincount().max()) for batch in batches)
    bars, sharing = -(-bars // _BARS) * _BARS, max(sharing, batches[0].recent.place_BL.shape[1])
    masked = [batch.recent.masks for batch in batches if batch.recent.masks is not None]
    masks = 1 << (max((len(each.rows_Z) for each in masked), default=1) - 1).bit_length()
    rows = -(-max((max(each.rows_Z) for each in masked), default=1) // _ROWS) * _ROWS

    def padded(places: RecentPlaces) -> RecentPlaces:
        places = places.padded(bars, sharing)
        return places if places.masks is None else replace(places, masks=places.masks.padded(masks, rows))

    return [Batch(batch.row_B, padded(batch.recent)) for batch in batches]


def on_device(batches: list[Batch], device: torch.device) -> list[Batch]:
    """The same on ``device``: one copy of all tables of a kind for all batches."""
    tables_K = [batch.tables for batch in batches]
    moved: dict[torch.dtype, Iterator[Tensor]] = {}
    for dtype in {table.dtype for tables in tables_K for table in tables}:
        moved[dtype] = iter(_moved([table for tables in tables_K for table in tables if table.dtype == dtype], device))
    return [batch.with_tables([next(moved[table.dtype]) for table in batch.tables]) for batch in batches]


def _moved(parts: list[Tensor], device: torch.device) -> list[Tensor]:
    whole = torch.cat([part.reshape(-1) for part in parts]).to(device)
    pieces = whole.split([part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def as_tensor(value: NDArray[np.float32]) -> Tensor:
    """A float32 tensor of its own memory."""
    return torch.from_numpy(np.array(value, dtype=np.float32))
