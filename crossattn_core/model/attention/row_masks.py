"""Rows of a batch that may read the same assets share their weights: work by distinct mask, never by row.

Axes: B decision rows, Z distinct masks of them, N targets, M sources, S pairs of source and lag, H heads, K head width.
"""

import torch
from torch import Tensor

__all__ = ["distinct_masks", "mix_by_mask"]


def distinct_masks(readable_BM: Tensor) -> tuple[Tensor, Tensor]:
    """(Z, M) the distinct rows, and (B,) which of them each row is."""
    if bool(readable_BM.all()):
        return readable_BM[:1], torch.zeros(len(readable_BM), dtype=torch.long, device=readable_BM.device)
    return torch.unique(readable_BM, dim=0, return_inverse=True)


def mix_by_mask(weight_ZHNS: Tensor, place_B: Tensor | None, value_BSHK: Tensor) -> Tensor:
    """(B, N, H, K) values under the weights of each row's mask: one matrix product a head and mask.

    Attention whose weights are alike for many rows is a convolution over time. ``place_B``: none where there is one mask.
    """
    if place_B is None or len(weight_ZHNS) == 1:
        return _mix(weight_ZHNS[0], value_BSHK)
    order_B = torch.argsort(place_B, stable=True)
    parts = value_BSHK[order_B].split(torch.bincount(place_B, minlength=len(weight_ZHNS)).tolist())
    mixed_BNHK = torch.cat([_mix(*pair) for pair in zip(weight_ZHNS, parts, strict=True)])
    return mixed_BNHK[torch.argsort(order_B)]


def _mix(weight_HNS: Tensor, value_BSHK: Tensor) -> Tensor:
    batch, _, heads, width = value_BSHK.shape
    value_HSE = value_BSHK.permute(2, 1, 0, 3).reshape(heads, -1, batch * width)
    return (weight_HNS @ value_HSE).view(heads, -1, batch, width).permute(2, 1, 0, 3)
