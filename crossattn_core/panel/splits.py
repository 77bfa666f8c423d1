"""Splits: which rows may fit a model and which may choose its epoch, purged by label end, with an embargo.

Axes: T bars of the panel, N assets, H label columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.panel.labels import Labels

__all__ = ["Split", "training_rows"]


@dataclass(frozen=True)
class Split:
    """Rows of one fit. A label outside its side's mask is never read."""

    train_R: NDArray[np.int64]
    """Rows that fit the weights and the scalers, ascending."""
    validation_R: NDArray[np.int64]
    """Newest rows, which choose the epoch, ascending; none of their bars precedes a training label's end."""
    train_end: int
    """A label is fitted only when its exit lies at or before this row."""
    cut_off: int
    """A label is used at all only when its exit lies at or before this row."""


def training_rows(
    labels: Labels,
    cut_off: int,
    *,
    first: int = 0,
    weight_T: NDArray[np.float32] | None = None,
    validation_share: float = 0.15,
    embargo: int = 24,
    stride: int = 1,
) -> Split:
    """Split the rows ``first..cut_off`` into training and validation.

    A row belongs to a side when at least one of its labels is known there. Validation takes the newest
    ``validation_share`` of the rows; a training label must end at least ``embargo`` bars before the first of them.

    Args:
        labels: as computed; only exits at or before ``cut_off`` count.
        cut_off: newest row whose prices may be used.
        first: oldest row allowed (the first with a whole window behind it).
        weight_T: of each row; one of weight 0 is on neither side, lest none that is held out counts. None: all count.
        stride: bars between training rows, counted back from the newest; validation keeps every row.

    Raises:
        TrainingError: nothing is left on one of the sides.

    >>> end = np.arange(2, 22, dtype=np.int32)[:, None, None]  # every label ends two bars after its row
    >>> labels = Labels(np.zeros((20, 1, 1), np.float32), end)
    >>> split = training_rows(labels, cut_off=15, validation_share=0.25, embargo=3)
    >>> split.train_R.tolist(), split.validation_R.tolist()  # labels of rows 6..9 reach into the embargo
    ([0, 1, 2, 3, 4, 5], [11, 12, 13])
    >>> split.train_end  # exit of row 5 is 7 = 11 - 3 - 1: three bars lie between
    7
    """
    known_TNH = (labels.end_TNH >= 0) & (labels.end_TNH <= cut_off)
    row_R = np.flatnonzero(known_TNH[: cut_off + 1].any(axis=(1, 2)))
    row_R = row_R[row_R >= first]
    counted = ""
    if weight_T is not None:
        row_R, counted = row_R[weight_T[row_R] > 0], "weight and "
    held_out = int(np.floor(len(row_R) * validation_share))
    if held_out < 1:
        raise TrainingError(
            f"{len(row_R)} rows with {counted}a known label between rows {first} and {cut_off}: too few to hold out "
            f"{validation_share:.0%}; give the model more history or a shorter lookback"
        )
    validation_R = row_R[-held_out:]
    train_end = int(validation_R[0]) - embargo - 1
    fits_TNH = known_TNH & (labels.end_TNH <= train_end)
    train_R = row_R[fits_TNH[row_R].any(axis=(1, 2))]
    if not len(train_R):
        raise TrainingError(
            f"no training row is left: all {len(row_R)} rows between {first} and {cut_off} end inside the validation rows "
            f"({held_out}) or the embargo of {embargo} bars before them; give the model more history"
        )
    return Split(train_R[::-1][::stride][::-1].copy(), validation_R, train_end, cut_off)
