"""What the panel and the labels fix about a network, before any knob."""

from dataclasses import dataclass

__all__ = ["NetworkShape"]


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
