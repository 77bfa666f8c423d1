"""Where learned logits over (source, lag) pairs start: at a prior, and from screened pairs.

Axes: H heads, N targets, X pairs of a target, all or some of them.
"""

import math

import torch
from torch import Tensor

__all__ = ["MIN_TOTAL", "started"]

MIN_TOTAL = 1e-20
"""Share of the largest weight that what a row may read must sum to: far above the smallest normal single-precision number."""

_SMALLEST = 1e-30
"""A weight whose logit is still a number."""
_TOLD, _KEPT = 0.4, 0.4
"""Screening tells a target's pairs when they take so much of a start; learned weights that give them less than this part of
that begin anew."""


def started(logit_HNX: Tensor, start_1NX: Tensor, gain_HN: Tensor, share_HNX: Tensor, *, learned: bool) -> tuple[Tensor, Tensor]:
    """Logits and gains that start with these shares of the weight on screened pairs and the rest as without them.

    Args:
        start_1NX: what logits are added to.
        gain_HN: what a context is multiplied by.
        share_HNX: at most 1 for each head and target.
        learned: the logits were learned before: only targets whose screened pairs have hardly any weight start anew.
    """
    learned_HNX, even_HNX = (logit.softmax(dim=-1) for logit in (logit_HNX + start_1NX, torch.zeros_like(logit_HNX) + start_1NX))
    is_new_HN = torch.ones_like(gain_HN, dtype=torch.bool)
    if learned:
        told_HN = share_HNX.sum(dim=-1)
        is_new_HN = (told_HN > _TOLD) & (torch.minimum(learned_HNX, share_HNX).sum(dim=-1) < _KEPT * told_HN)
    weight_HNX = share_HNX + (1 - share_HNX.sum(dim=-1, keepdim=True)) * even_HNX
    new_HNX = weight_HNX.clamp_min(_SMALLEST).log() - start_1NX.clamp_min(math.log(_SMALLEST))
    gain_new_HN = (weight_HNX**2).sum(dim=-1).rsqrt()
    return torch.where(is_new_HN[..., None], new_HNX, logit_HNX), torch.where(is_new_HN, gain_new_HN, gain_HN)
