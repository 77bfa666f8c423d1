"""Which rows of a batch may read the same assets. Found on the host, before the batch is computed: a GPU is asked nothing.

Axes: B decision rows, Z distinct masks of them, M assets that are read, X rows mask after mask, filled up.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RowMasks"]


@dataclass(frozen=True)
class RowMasks:
    """The distinct masks of a batch, and the order in which its rows lie mask after mask."""

    readable_ZM: Tensor
    place_B: Tensor
    """The mask of each row."""
    rows_Z: tuple[int, ...]
    """Places of each mask in X: its rows, and what they are filled up with."""
    order_X: Tensor
    """The rows, mask after mask; B where a place is filled up."""
    back_B: Tensor
    """The place of each row in X."""

    @classmethod
    def of(cls, readable_ZM: Tensor, place_B: Tensor) -> "RowMasks":
        """Of masks that are known, and the mask of each row."""
        order_B = torch.argsort(place_B, stable=True)
        rows_Z = tuple(torch.bincount(place_B, minlength=len(readable_ZM)).tolist())
        return cls(readable_ZM, place_B, rows_Z, order_B, torch.argsort(order_B))

    @classmethod
    def found(cls, readable_BM: Tensor) -> "RowMasks":
        """Of rows whose masks nobody has looked at yet: waits for a GPU."""
        return cls.of(*torch.unique(readable_BM, dim=0, return_inverse=True))

    @classmethod
    def alike(cls, readable_BM: Tensor) -> "RowMasks":
        """Of rows that all have the first one's mask."""
        row_B = torch.arange(len(readable_BM), device=readable_BM.device)
        return cls(readable_BM[:1], torch.zeros_like(row_B), (len(row_B),), row_B, row_B)

    def repeated(self, times: int) -> "RowMasks":
        """Of a batch in which each row stands so many times, side by side."""

        def spread(place: Tensor) -> Tensor:
            return (place[:, None] * times + torch.arange(times, device=place.device)).flatten()

        order_X = spread(self.order_X).clamp_max(len(self.place_B) * times)
        rows_Z = tuple(rows * times for rows in self.rows_Z)
        return RowMasks(self.readable_ZM, self.place_B.repeat_interleave(times), rows_Z, order_X, spread(self.back_B))

    def padded(self, masks: int, rows: int) -> "RowMasks":
        """The same with so many masks, the last of them repeated, of so many rows each: sizes that batches can share."""
        starts = [0, *torch.tensor(self.rows_Z).cumsum(0).tolist()]
        order_ZR = torch.full((masks, rows), len(self.place_B))
        for z, size in enumerate(self.rows_Z):
            order_ZR[z, :size] = self.order_X[starts[z] : starts[z] + size]
        within_B = self.back_B - torch.tensor(starts)[self.place_B]
        readable_ZM = functional.pad(self.readable_ZM[None].byte(), (0, 0, 0, masks - len(self.readable_ZM)), mode="replicate")
        return RowMasks(readable_ZM[0].bool(), self.place_B, (rows,) * masks, order_ZR.flatten(), self.place_B * rows + within_B)

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """Every tensor of it, in the order of ``with_tables``."""
        return self.readable_ZM, self.place_B, self.order_X, self.back_B

    def with_tables(self, readable_ZM: Tensor, place_B: Tensor, order_X: Tensor, back_B: Tensor) -> "RowMasks":
        """The same sizes with other tensors."""
        return replace(self, readable_ZM=readable_ZM, place_B=place_B, order_X=order_X, back_B=back_B)
