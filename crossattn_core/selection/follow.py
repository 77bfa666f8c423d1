"""The strategy ``champion``: at each decision, what the family in charge of its day wants to hold.

A family's target may say "leave this position alone", which speaks of the family's own position. After a change of champion
the followed portfolio holds something else: until an asset has once been traded under the new champion, such a target is
read as the weight that the champion itself holds by then. Positions that cannot be traded at the fill stay, and what is
ordered beside them keeps the limits.

Axes: D decisions, N assets.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.limits import Group, groups_of, project
from crossattn_core.portfolio.positions import Book
from crossattn_core.portfolio.strategies import BASELINE_RULES
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.portfolio.tradability import expected_tradable

__all__ = ["CHAMPION", "Followed", "follow"]

CHAMPION = "champion"
"""Name of the followed strategy, beside those that it chooses from."""


class Followed:
    """The followed targets, and what each decision saw."""

    def __init__(
        self, targets: Targets, leader_D: Sequence[str], held_DN: NDArray[np.float64], open_DN: NDArray[np.bool_]
    ) -> None:
        self.targets = targets
        self.leader_D = tuple(leader_D)
        self.held_DN = held_DN
        """(D, N) drifted weights before the decision's orders."""
        self.open_DN = open_DN
        """(D, N) whether the calendar has the venue open at the fill."""


def follow(
    targets: Mapping[str, Targets], leader_D: Sequence[str], past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment
) -> Followed:
    """Stitch the targets of the strategies in charge; a decision reads nothing after its own row.

    Args:
        targets: the strategies' targets, all decided at ``rows_D``.
        leader_D: whose targets are followed at each decision.
    """
    lag = experiment.labels.execution_lag
    assets = len(past_panel.asset_ids)
    as_of_D = past_panel.as_of_T[rows_D]
    open_DN = expected_tradable(experiment, as_of_D + lag * np.timedelta64(1, "h"))
    books = {name: Book(past_panel, experiment) for name in dict.fromkeys(leader_D)}
    own = Book(past_panel, experiment)
    groups = groups_of(experiment)
    target_DN, held_DN = np.full((2, len(rows_D), assets), np.nan)
    # Nothing is held at first, by the champion as by its follower.
    aligned_N, waiting = np.ones(assets, dtype=bool), list[tuple[int, NDArray[np.bool_]]]()
    for d, row in enumerate(rows_D.tolist()):
        leader = leader_D[d]
        champions_N = {name: book.held_at(row) for name, book in books.items()}[leader]
        held_N = held_DN[d] = own.held_at(row)
        if d and leader != leader_D[d - 1]:
            aligned_N, waiting = np.zeros(assets, dtype=bool), []
        while waiting and waiting[0][0] <= row:
            fill_row, asked_N = waiting.pop(0)
            aligned_N |= asked_N & past_panel.is_tradable_TN[fill_row]
        wanted_N = targets[leader].target_DN[d].copy()
        wanted_N = np.where(np.isnan(wanted_N) & ~aligned_N, champions_N, wanted_N)
        wanted_N[~open_DN[d]] = np.nan
        wanted_N = target_DN[d] = _beside_the_rest(wanted_N, held_N, leader, groups, experiment)
        own.order(row, wanted_N)
        waiting.append((row + lag, np.isfinite(wanted_N)))
        for name, book in books.items():
            book.order(row, targets[name].target_DN[d])
    return Followed(Targets(CHAMPION, past_panel.asset_ids, as_of_D, target_DN), leader_D, held_DN, open_DN)


def _beside_the_rest(
    wanted_N: NDArray[np.float64], held_N: NDArray[np.float64], leader: str, groups: Sequence[Group], experiment: Experiment
) -> NDArray[np.float64]:
    """The nearest orders that keep the limits together with the positions that stay."""
    free_N = np.isfinite(wanted_N)
    if not free_N.any():
        return wanted_N
    settings = experiment.portfolio
    cap = settings.gross if leader in BASELINE_RULES else settings.max_weight
    stays_N = np.where(free_N, 0.0, np.abs(held_N))
    inside = [
        Group(group.name, group.members_N[free_N], max(group.cap - stays_N[group.members_N].sum(), 0.0))
        for group in groups
        if (group.members_N & free_N).any() and leader not in BASELINE_RULES
    ]
    left = max(settings.gross - stays_N.sum(), 0.0)
    ordered_N = wanted_N.copy()
    ordered_N[free_N] = project(wanted_N[free_N], np.full(int(free_N.sum()), cap), left, inside)
    return ordered_N
