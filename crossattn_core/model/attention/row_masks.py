"""Rows of a batch that may read the same assets share their weights: work by distinct mask, never by row.

Axes: B decision rows, Z distinct masks of them, X rows mask after mask, N targets, M sources, S pairs of source and lag,
H heads, K head width.
"""

from typing import Any

import torch
from torch import Tensor

from crossattn_core.panel.row_masks import RowMasks

__all__ = ["mix_by_mask", "rows_back", "rows_by_mask"]


def mix_by_mask(weight_ZHNS: Tensor, masks: RowMasks | None, value_BSHK: Tensor) -> Tensor:
    """(B, N, H, K) values under the weights of each row's mask: one matrix product a head and mask.

    Attention whose weights are alike for many rows is a convolution over time. ``masks``: none where there is one mask.
    """
    if masks is None or len(weight_ZHNS) == 1:
        return _mix(weight_ZHNS[0], value_BSHK)
    mixed_XNHK = torch.cat([_mix(*pair) for pair in zip(weight_ZHNS, rows_by_mask(value_BSHK, masks), strict=True)])
    return rows_back(mixed_XNHK, masks)


def rows_by_mask(value_BX: Tensor, masks: RowMasks) -> tuple[Tensor, ...]:
    """The rows of each mask; zeros where a mask is filled up."""
    return _Arranged.apply(value_BX, masks.order_X, masks.back_B).split(masks.rows_Z)  # pyright: ignore[reportOptionalMemberAccess]


def rows_back(value_X: Tensor, masks: RowMasks) -> Tensor:
    """(B, ...) rows in their own order, of such parts joined."""
    return _Arranged.apply(value_X, masks.back_B, masks.order_X)  # pyright: ignore[reportReturnType]


class _Arranged(torch.autograd.Function):
    """Rows in another order; the gradient goes back by the inverse table: nothing is added up, nothing is sorted."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, place: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(place, inverse)
        return _rows(value, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        _, inverse = ctx.saved_tensors
        return _rows(gradient, inverse), None, None


def _rows(value: Tensor, place: Tensor) -> Tensor:
    # Only where there are more places than rows is one filled up.
    padded = value if len(place) <= len(value) else torch.cat([value, torch.zeros_like(value[:1])])
    return padded.index_select(0, place)


def _mix(weight_HNS: Tensor, value_BSHK: Tensor) -> Tensor:
    batch, _, heads, width = value_BSHK.shape
    value_HSE = value_BSHK.permute(2, 1, 0, 3).reshape(heads, -1, batch * width)
    return (weight_HNS @ value_HSE).view(heads, -1, batch, width).permute(2, 1, 0, 3)
