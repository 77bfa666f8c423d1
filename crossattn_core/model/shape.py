"""What the panel and the labels fix about a network, before any knob; and how a width divides into heads."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["NetworkShape", "by_head"]


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of the input and the output."""

    assets: int
    channels: int
    """Features and the fresh flag."""
    outputs: int
    sectors: tuple[int, ...] = ()
    """Sector of each asset, as small integers, each in one market; hierarchical attention needs them."""
    markets: tuple[int, ...] = ()
    """Market of each asset, likewise."""
    return_channel: int | None = 0
    """Channel that holds a bar's log return, where there is one."""


def by_head(value_BXD: Tensor, heads: int) -> Tensor:
    """(B, X, D) to (B, H, X, K), D = H * K."""
    return value_BXD.unflatten(-1, (heads, -1)).transpose(1, 2)
