"""Groups that lead as one: the market, its parts, each sector. Axes: T bars, N assets, G groups.

Where many assets move together and all lead one follower, none of them stands out beside the others, and a test of one at a
time names nobody. Their mean has less noise than any member: it is tested as a leader of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.universe import Asset

__all__ = ["MARKET", "LeaderGroup", "group_returns", "leader_groups", "members_beside"]

MARKET = "market"
"""The leader that stands for all assets other than the follower."""

_MIN_MEMBERS = 2


@dataclass(frozen=True)
class LeaderGroup:
    """Assets whose mean scaled return is tested as one leader; the follower itself is left out."""

    name: str
    """In place of an asset's id."""
    members: tuple[int, ...]
    """Places in the panel."""


def leader_groups(assets: Sequence[Asset]) -> tuple[LeaderGroup, ...]:
    """The market, each of its parts (crypto, stocks) and each sector; every set of members once.

    >>> from crossattn_core.universe import Asset
    >>> coins = [Asset(venue="bybit", symbol=f"{name}USDT", sector=sector) for name, sector in zip("ABC", "xxy")]
    >>> [(group.name, group.members) for group in leader_groups(coins)]
    [('market', (0, 1, 2)), ('x sector', (0, 1))]
    """
    everything = range(len(assets))
    named = [(MARKET, tuple(everything))]
    named += [
        (f"{market} market", tuple(n for n in everything if assets[n].market == market))
        for market in sorted({asset.market for asset in assets})
    ]
    named += [
        (f"{sector} sector", tuple(n for n in everything if assets[n].sector == sector))
        for sector in sorted({asset.sector for asset in assets})
    ]
    groups: dict[tuple[int, ...], LeaderGroup] = {}
    for name, members in named:
        if len(members) >= _MIN_MEMBERS:
            groups.setdefault(members, LeaderGroup(name, members))
    return tuple(groups.values())


def members_beside(groups: Sequence[LeaderGroup], follower: int) -> dict[int, tuple[int, ...]]:
    """Place of a group -> its members other than the follower: two at least, and each set of them once.

    >>> groups = (LeaderGroup("market", (0, 1, 2)), LeaderGroup("x sector", (0, 1)), LeaderGroup("y sector", (1, 2)))
    >>> members_beside(groups, 0)
    {0: (1, 2)}
    """
    found: dict[tuple[int, ...], int] = {}
    for g, group in enumerate(groups):
        members = tuple(n for n in group.members if n != follower)
        if len(members) >= _MIN_MEMBERS:
            found.setdefault(members, g)
    return {g: members for members, g in found.items()}


def group_returns(
    filled_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], members: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(T,) mean over the members that are known in a row, 0 with fewer than two (or than there are), and which are known."""
    places = list(members)
    count_T = known_TN[:, places].sum(axis=1)
    known_T = count_T >= min(_MIN_MEMBERS, len(places))
    return np.where(known_T, filled_TN[:, places].sum(axis=1) / np.maximum(count_T, 1), 0.0), known_T
