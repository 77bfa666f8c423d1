"""Who may be read, and whether what is given fits together: what the attentions of ``modules`` check before they begin.

Axes: B batch, N assets that ask, M assets that are read, T steps, D width, X assets or none.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["LARGEST", "allowed_pairs", "check_alike", "group_places", "heard", "is_countable", "silenced"]

LARGEST = 1e9
"""What an asset that nobody may read holds beyond is taken for no number: squares and sums of it must be finite, lest a weight or
a gradient of 0 times it is NaN."""


def group_places(mapping: Mapping[int, Hashable] | Sequence[Hashable]) -> list[int]:
    """The group of each asset, as a place among the groups in order of appearance.

    Raises:
        ValueError: keys that are not the places 0 .. N - 1.

    >>> group_places(["coins", "stocks", "coins"])
    [0, 1, 0]
    """
    if isinstance(mapping, Mapping):
        places = set(range(len(mapping)))
        if set(mapping) != places:
            raise ValueError(f"groups by {list(mapping)[:5]}; the keys are the assets' places 0 .. {len(mapping) - 1}, each once")
        groups = [mapping[n] for n in range(len(mapping))]
    else:
        groups = list(mapping)
    order = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    return [order[group] for group in groups]


def check_alike(asset_BXTD: Tensor, other_BMTD: Tensor) -> None:
    """Raise ValueError unless both have the same rows and steps."""
    if asset_BXTD.shape[-2] != other_BMTD.shape[2]:
        raise ValueError(
            f"assets hold {asset_BXTD.shape[-2]} steps, the others {other_BMTD.shape[2]}; give both on the same steps"
        )
    if len(asset_BXTD) != len(other_BMTD):
        raise ValueError(
            f"a batch of {len(asset_BXTD)} for the assets, of {len(other_BMTD)} for the others; give both the same rows"
        )


def silenced(token_BNTD: Tensor, mask: Tensor | None) -> Tensor:
    """The tokens that ask, with 0 for what is no number (``LARGEST``) of an asset that nobody may read."""
    if mask is None:
        return token_BNTD
    return torch.where(_read_by_some(token_BNTD, mask) | is_countable(token_BNTD), token_BNTD, 0.0)


def is_countable(value: Tensor) -> Tensor:
    """Where a value is a number up to ``LARGEST``, or the largest of its precision."""
    return value.abs() <= min(LARGEST, torch.finfo(value.dtype).max)


def heard(token_BMTD: Tensor, mask: Tensor | None) -> Tensor:
    """The tokens that are read, with 0 for those of an asset that nobody may read: a weight of 0 times NaN would be NaN."""
    return token_BMTD if mask is None else torch.where(_read_by_some(token_BMTD, mask), token_BMTD, 0.0)


def _read_by_some(token_BMTD: Tensor, mask: Tensor) -> Tensor:
    """(B, M, 1, 1)."""
    batch, sources = token_BMTD.shape[:2]
    readable_BM = allowed_pairs(mask, batch, 1 if mask.ndim < 3 else mask.shape[1], sources, token_BMTD.device).any(dim=1)
    return readable_BM[..., None, None]


def allowed_pairs(mask: Tensor | None, batch: int, assets: int, sources: int, device: torch.device) -> Tensor:
    """(B, N, M) who may read whom by a mask of who may be read, (B, M), or read by whom, (B, N, M); none: everybody.

    Raises:
        ValueError: a mask of another shape.
    """
    if mask is None:
        return torch.ones(batch, assets, sources, dtype=torch.bool, device=device)
    fits = {1: [(sources,)], 2: [(batch, sources), (1, sources)], 3: [(rows, assets, sources) for rows in (batch, 1)]}
    if tuple(mask.shape) not in fits.get(mask.ndim, []):
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)}; it says who may be read, (B, M) = {(batch, sources)}, "
            f"or read by whom, (B, N, M) = {(batch, assets, sources)}"
        )
    return (mask[:, None] if mask.ndim == 2 else mask).bool().expand(batch, assets, sources)
