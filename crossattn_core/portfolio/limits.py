"""Limits on weights, met by exact projection: the nearest weights that obey them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment

__all__ = ["Group", "groups_of", "project", "project_free"]


@dataclass(frozen=True)
class Group:
    """Assets whose absolute weights together stay at or below ``cap``, for instance a sector or a venue."""

    name: str
    members_N: NDArray[np.bool_]
    cap: float


def groups_of(experiment: Experiment) -> tuple[Group, ...]:
    """The capped sectors and venues of an experiment's assets.

    Raises:
        BacktestError: a cap names a sector or venue that no asset has.
    """
    groups = []
    for kind, caps in (("sector", experiment.portfolio.sector_caps), ("venue", experiment.portfolio.venue_caps)):
        names = np.array([getattr(asset, kind) for asset in experiment.assets])
        for name, cap in caps.items():
            if name not in names:
                raise BacktestError(f"{kind}_caps names {name!r}; the assets have {', '.join(sorted(set(names)))}")
            groups.append(Group(f"{kind} {name}", names == name, cap))
    return tuple(groups)


def project(
    weight_N: NDArray[np.float64], cap_N: NDArray[np.float64], gross: float, groups: Sequence[Group] = ()
) -> NDArray[np.float64]:
    """The weights nearest to ``weight_N`` (least squares) with |w| <= ``cap_N``, sum |w| <= ``gross`` and each group's cap.

    Signs are kept. Without groups the solution is sign(w) * clip(|w| - shift, 0, cap) with the smallest shift >= 0 that
    meets the gross limit. Groups that lie inside each other or apart form a tree; each has a shift of its own, at least that
    of the group around it (the multipliers of nested constraints add up), found from the outside in.

    Raises:
        BacktestError: two groups overlap without one holding the other.

    >>> project(np.array([0.6, -0.5, 0.1]), np.full(3, 0.4), 0.7).round(3).tolist()
    [0.4, -0.3, 0.0]
    >>> tech = Group("tech", np.array([True, True, False]), 0.3)
    >>> project(np.array([0.4, 0.3, 0.2]), np.ones(3), 1.0, [tech]).round(3).tolist()
    [0.2, 0.1, 0.2]
    """
    size_N = np.abs(weight_N)
    found_N = np.zeros(len(weight_N))
    everything = Group("gross", np.ones(len(weight_N), dtype=bool), gross)
    _settle(_tree(everything, groups), 0.0, size_N, cap_N, found_N)
    return np.sign(weight_N) * found_N


def project_free(
    weight_N: NDArray[np.float64],
    held_N: NDArray[np.float64],
    free_N: NDArray[np.bool_],
    cap: float,
    gross: float,
    groups: Sequence[Group] = (),
) -> NDArray[np.float64]:
    """(N,) ``held_N`` but for the free assets: the weights nearest to ``weight_N`` within what the rest leaves of each limit."""
    inside = [
        Group(group.name, group.members_N[free_N], max(group.cap - np.abs(held_N[group.members_N & ~free_N]).sum(), 0.0))
        for group in groups
        if (group.members_N & free_N).any()
    ]
    left = max(gross - np.abs(held_N[~free_N]).sum(), 0.0)
    limited_N = held_N.copy()
    limited_N[free_N] = project(weight_N[free_N], np.full(int(free_N.sum()), cap), left, inside)
    return limited_N


@dataclass
class _Node:
    group: Group
    own_N: NDArray[np.bool_]
    """Members that lie in no group inside this one."""
    inside: list["_Node"] = field(default_factory=list)


def _tree(everything: Group, groups: Sequence[Group]) -> _Node:
    root = _Node(everything, everything.members_N.copy())
    nodes = [root]
    for group in sorted(groups, key=lambda group: -int(group.members_N.sum())):
        around = root
        for node in nodes:
            shared = int((node.group.members_N & group.members_N).sum())
            if shared == int(group.members_N.sum()):
                around = node  # nodes come largest first, so the last that holds the group is the tightest around it
            elif shared:
                raise BacktestError(
                    f"{group.name} and {node.group.name} share {shared} assets without one holding the other; cap one of them"
                )
        nodes.append(_Node(group, group.members_N.copy()))
        around.inside.append(nodes[-1])
        around.own_N &= ~group.members_N
    return root


def _total(node: _Node, shift: float, size_N: NDArray[np.float64], cap_N: NDArray[np.float64]) -> float:
    own = float(np.clip(size_N[node.own_N] - shift, 0.0, cap_N[node.own_N]).sum())
    return own + sum(min(inner.group.cap, _total(inner, shift, size_N, cap_N)) for inner in node.inside)


def _settle(
    node: _Node, shift: float, size_N: NDArray[np.float64], cap_N: NDArray[np.float64], found_N: NDArray[np.float64]
) -> None:
    if _total(node, shift, size_N, cap_N) > node.group.cap:
        shift = _shift_to_cap(node, shift, size_N, cap_N)
    found_N[node.own_N] = np.clip(size_N[node.own_N] - shift, 0.0, cap_N[node.own_N])
    for inner in node.inside:
        _settle(inner, shift, size_N, cap_N, found_N)


def _shift_to_cap(node: _Node, shift: float, size_N: NDArray[np.float64], cap_N: NDArray[np.float64]) -> float:
    """The shift at which the node's total equals its cap: the total falls piecewise linearly, so one line remains to solve."""
    low, high = shift, float(size_N[node.group.members_N].max())
    breaks = np.concatenate([size_N - cap_N, size_N])[np.tile(node.group.members_N, 2)]
    breaks = np.unique(breaks[(breaks > low) & (breaks < high)])
    while len(breaks):
        middle = float(breaks[len(breaks) // 2])
        if _total(node, middle, size_N, cap_N) > node.group.cap:
            low, breaks = middle, breaks[breaks > middle]
        else:
            high, breaks = middle, breaks[breaks < middle]
    for _ in range(60 if node.inside else 1):  # inner caps add breakpoints of their own: halve until the line is found
        above, below = _total(node, low, size_N, cap_N), _total(node, high, size_N, cap_N)
        guess = low + (high - low) * (above - node.group.cap) / (above - below) if above > below else high
        if not node.inside or abs(_total(node, guess, size_N, cap_N) - node.group.cap) <= 1e-15:
            return guess
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _total(node, middle, size_N, cap_N) > node.group.cap else (low, middle)
    return high
