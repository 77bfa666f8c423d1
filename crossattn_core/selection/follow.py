"""The strategy ``champion``: at each decision, the target weights of the strategy that is followed on its day.

A NaN target leaves the followed strategy's own position alone. After a change of champion the portfolio holds something else:
until an asset has once been traded under the new champion, such a target is read as the weight that the champion itself
holds by then. Positions that cannot be traded at the fill stay, and what is traded beside them keeps the limits.

Axes: D decisions, N assets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import traded_strategies
from crossattn_core.portfolio.limits import Group, groups_of, project
from crossattn_core.portfolio.positions import Positions
from crossattn_core.portfolio.strategies.registry import is_baseline
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.portfolio.tradability import open_at_fill

__all__ = ["CHAMPION", "Followed", "follow", "reported_strategies"]

CHAMPION = "champion"
"""Name of the followed strategy, beside those that it chooses from."""


def reported_strategies(experiment: Experiment) -> tuple[str, ...]:
    """Every strategy that is simulated and reported: those that are traded, and the followed one."""
    return (*traded_strategies(experiment), CHAMPION)


@dataclass(frozen=True)
class Followed:
    """The followed targets, and what each decision saw."""

    targets: Targets
    champion_D: tuple[str, ...]
    """(D,) strategy followed at each decision."""
    held_DN: NDArray[np.float64]
    """(D, N) drifted weights before the decision's trades."""
    open_DN: NDArray[np.bool_]
    """(D, N) whether the calendar has the venue open at the fill."""


def follow(
    targets: Mapping[str, Targets],
    champion_D: Sequence[str],
    past_panel: Panel,
    rows_D: NDArray[np.int64],
    experiment: Experiment,
) -> Followed:
    """Stitch the targets of the champions; a decision reads nothing after its own row.

    Args:
        targets: the strategies' targets, all decided at ``rows_D``.
        champion_D: whose targets are followed at each decision.
    """
    lag = experiment.labels.execution_lag
    assets = len(past_panel.asset_ids)
    open_DN = open_at_fill(past_panel, rows_D, experiment)
    positions_of = {name: Positions(past_panel, experiment) for name in dict.fromkeys(champion_D)}
    own = Positions(past_panel, experiment)
    groups = groups_of(experiment)
    target_DN, held_DN = np.full((2, len(rows_D), assets), np.nan)
    # Nothing is held at first, by the champion as by its follower.
    aligned_N, unfilled = np.ones(assets, dtype=bool), list[tuple[int, NDArray[np.bool_]]]()
    for d, row in enumerate(rows_D.tolist()):
        champion = champion_D[d]
        champion_held_N = {name: positions.weights_at(row) for name, positions in positions_of.items()}[champion]
        held_N = held_DN[d] = own.weights_at(row)
        if d and champion != champion_D[d - 1]:
            aligned_N, unfilled = np.zeros(assets, dtype=bool), []
        while unfilled and unfilled[0][0] <= row:
            fill_row, ordered_N = unfilled.pop(0)
            aligned_N |= ordered_N & past_panel.is_tradable_TN[fill_row]
        target_N = targets[champion].target_DN[d]
        target_N = np.where(np.isnan(target_N) & ~aligned_N, champion_held_N, target_N)
        target_N[~open_DN[d]] = np.nan
        target_N = target_DN[d] = _within_limits(target_N, held_N, champion, groups, experiment)
        own.order(row, target_N)
        unfilled.append((row + lag, np.isfinite(target_N)))
        for name, positions in positions_of.items():
            positions.order(row, targets[name].target_DN[d])
    followed = Targets(CHAMPION, past_panel.asset_ids, past_panel.as_of_T[rows_D], target_DN)
    return Followed(followed, tuple(champion_D), held_DN, open_DN)


def _within_limits(
    target_N: NDArray[np.float64], held_N: NDArray[np.float64], champion: str, groups: Sequence[Group], experiment: Experiment
) -> NDArray[np.float64]:
    """The nearest targets that keep the limits together with the positions that stay; a baseline has the gross limit alone."""
    free_N, settings = np.isfinite(target_N), experiment.portfolio
    if not free_N.any():
        return target_N
    cap, capped = (settings.gross, ()) if is_baseline(champion) else (settings.max_weight, groups)
    stays_N = np.where(free_N, 0.0, np.abs(held_N))
    inside = [
        Group(group.name, group.members_N[free_N], max(group.cap - stays_N[group.members_N].sum(), 0.0))
        for group in capped
        if (group.members_N & free_N).any()
    ]
    # Not limits.project_free: its sums run over the assets that stay alone, which rounds otherwise in the last bit.
    left = max(settings.gross - stays_N.sum(), 0.0)
    limited_N = target_N.copy()
    limited_N[free_N] = project(target_N[free_N], np.full(int(free_N.sum()), cap), left, inside)
    return limited_N
