"""Which of a follower's leads stand beside the others, and which cannot be told apart from the group that they belong to.

Least squares of the follower's return on its candidates, each at its own lag and shape, with White's heteroscedasticity-robust
errors; taken plain and beside the follower's own lags, as in ``lead_lag``. A candidate's p-value is the larger of the two, 1
where they disagree in sign.

    told apart     an asset or a group within a larger group that leads must add to that group, or the larger one alone is a
                   candidate
    clusters       leads that move together, at one lag and in one direction, and are in no leading group, become a group
    beside         candidates enter one by one, the one that adds most first, and leave again where others explain them

Axes: T bars, N assets, K regressors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.analysis.lead_lag import LeadLag, shaped
from crossattn_core.analysis.leader_groups import group_returns, members_beside
from crossattn_core.stats.newey_west import least_squares
from crossattn_core.stats.returns import centred
from crossattn_core.stats.scaled_returns import beside_own_lags

__all__ = ["MAX_CONDITIONAL_P", "leader_series", "select_leads"]

MAX_CONDITIONAL_P = 0.001
"""A link must keep at most this p-value beside the follower's other leads."""

_MIN_CLUSTER_CORRELATION = 0.5
_MAX_CANDIDATES = 40
"""Strongest candidates of a follower that enter one by one; any others are tried beside what those leave."""


@dataclass(frozen=True)
class _Follower:
    """Everything that the regressions of one follower look at."""

    filled_TN: NDArray[np.float64]
    known_TN: NDArray[np.bool_]
    plain_T: NDArray[np.float64]
    beside_own_T: NDArray[np.float64]
    rows_T: NDArray[np.bool_]

    def regressor(self, members: Sequence[int], lag: int, shape: str) -> NDArray[np.float64]:
        """(2, T) the members' mean ``lag`` bars ago, plain and less its part in the follower's own return of that bar."""
        x_T, has_T = leader_series(self.filled_TN, self.known_TN, members, shape)
        beta = float(x_T @ self.plain_T) / max(float((has_T * self.plain_T**2).sum()), 1e-12)
        rest_T = np.where(has_T, x_T - beta * self.plain_T, 0.0)
        return np.stack([np.concatenate([np.zeros(lag), value_T[:-lag]]) for value_T in (x_T, rest_T)])

    def p_values(self, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """(K,) of the regressors together."""
        found = []
        for way, y_T in enumerate((self.plain_T, self.beside_own_T)):
            x_TK = np.stack([column[way][self.rows_T] for column in columns], axis=1)
            coefficient_K, error_K = least_squares(x_TK, y_T[self.rows_T])
            found.append(coefficient_K / np.maximum(error_K, 1e-150))
        p_K = 2 * stats.norm.sf(np.minimum(*np.abs(found)))
        return np.where(found[0] * found[1] > 0, p_K, 1.0)


def select_leads(tested: LeadLag, asset_ids: tuple[str, ...], symbols: Sequence[str], rate: float) -> pd.DataFrame:
    """``tested.pairs`` with clusters added, and what each significant lead is worth beside the follower's others.

    Args:
        rate: false-discovery rate at which a pair is significant.

    Returns:
        ``pair_scores.PAIR_COLUMNS``; ``members``: places of the leader's assets in the panel; ``conditional_p`` beside the
        follower's other leads, NaN where the lead is not significant to begin with; ``beside``: the group from which it
        cannot be told apart, '' for none; ``rest_p``: of a group without the members that stand out, alone, NaN for assets.
    """
    place = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    filled_TN, known_TN = centred(tested.return_TN)
    own_TN = beside_own_lags(filled_TN, known_TN, tested.z_KLMN.shape[1])
    pairs = tested.pairs.assign(conditional_p=np.nan, beside="", rest_p=np.nan)
    group_place = {group.name: g for g, group in enumerate(tested.groups)}
    pairs["members"] = [
        (place[leader],) if leader in place else members_beside(tested.groups, place[follower])[group_place[leader]]
        for leader, follower in zip(pairs["leader"], pairs["follower"], strict=True)
    ]
    tables = [pairs[pairs["q_value"] > rate]]
    for follower_id, rows in pairs[pairs["q_value"] <= rate].groupby("follower", sort=False):
        n = place[str(follower_id)]
        follower = _Follower(filled_TN, known_TN, filled_TN[:, n], own_TN[:, n], known_TN[:, n])
        tables.append(_selected(_with_clusters(rows, filled_TN, symbols), follower))
    return pd.concat([table for table in tables if len(table)], ignore_index=True) if len(pairs) else pairs


def leader_series(
    filled_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], members: Sequence[int], shape: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(T,) what a leader, an asset or the mean of a group, is tested by, 0 where unknown; and where it is known."""
    value_T, has_T = group_returns(filled_TN, known_TN, members)
    return shaped(value_T, has_T, shape), has_T


def _selected(rows: pd.DataFrame, follower: _Follower) -> pd.DataFrame:
    """The significant leads of one follower with ``conditional_p`` and ``beside``."""
    rows = rows.sort_values("z", key=np.abs, ascending=False, kind="stable")
    lead_by_k = {k: row for k, row in enumerate(rows.to_dict("records"))}
    column_by_k = {k: follower.regressor(row["members"], row["lag"], row["shape"]) for k, row in lead_by_k.items()}
    groups = {k: row for k, row in lead_by_k.items() if len(row["members"]) > 1}
    p_by_k, beside_by_k = dict.fromkeys(lead_by_k, float("nan")), dict.fromkeys(lead_by_k, "")
    for k, row in lead_by_k.items():
        for g, group in groups.items():
            if not set(row["members"]) < set(group["members"]):
                continue
            p_value = float(follower.p_values([column_by_k[k], column_by_k[g]])[0])
            if p_value > MAX_CONDITIONAL_P:
                p_by_k[k], beside_by_k[k] = p_value, group["leader"]
                break
    candidates = [k for k in lead_by_k if not beside_by_k[k]]
    chosen = _enter(follower, {k: column_by_k[k] for k in candidates[:_MAX_CANDIDATES]})
    for k, p_value in zip(chosen, follower.p_values([column_by_k[k] for k in chosen]), strict=True):
        p_by_k[k] = float(p_value)
    for k in candidates:
        if k not in chosen:
            p_by_k[k] = float(follower.p_values([column_by_k[k], *(column_by_k[j] for j in chosen)])[0])
    stand_out = {lead_by_k[k]["members"][0] for k in chosen if k not in groups}
    rest_by_k = dict.fromkeys(lead_by_k, float("nan"))
    for k, group in groups.items():
        rest = [n for n in group["members"] if n not in stand_out]
        if rest:
            rest_by_k[k] = float(follower.p_values([follower.regressor(rest, group["lag"], group["shape"])])[0])
    columns = {"conditional_p": p_by_k, "beside": beside_by_k, "rest_p": rest_by_k}
    return rows.assign(**{name: list(value_by_k.values()) for name, value_by_k in columns.items()})


def _enter(follower: _Follower, column_by_k: Mapping[int, NDArray[np.float64]]) -> list[int]:
    """Forward selection with removal; the strongest candidate (the first) starts."""
    waiting, chosen = list(column_by_k), list(column_by_k)[:1]
    waiting = waiting[1:]
    while waiting:
        beside = [column_by_k[k] for k in chosen]
        p_by_k = {k: float(follower.p_values([column_by_k[k], *beside])[0]) for k in waiting}
        best = min(waiting, key=p_by_k.__getitem__)
        if p_by_k[best] > MAX_CONDITIONAL_P:
            break
        waiting.remove(best)
        chosen.append(best)
        # Who entered earlier may be explained by who came after: it leaves for good, so this ends.
        p_chosen = follower.p_values([column_by_k[k] for k in chosen])
        if p_chosen[-1] > MAX_CONDITIONAL_P:
            chosen.pop()
            continue
        chosen = [k for k, p_value in zip(chosen, p_chosen, strict=True) if p_value <= MAX_CONDITIONAL_P]
    return chosen


def _with_clusters(rows: pd.DataFrame, filled_TN: NDArray[np.float64], symbols: Sequence[str]) -> pd.DataFrame:
    """The leads of one follower and, for assets that move together and lead alike in no leading group, their mean."""
    single = rows[rows["members"].map(len) == 1]
    covered = [set(members) for members in rows["members"] if len(members) > 1]
    added = []
    for (lag, shape, _), alike in single.groupby(["lag", "shape", np.sign(single["z"])], sort=False):
        places = [members[0] for members in alike["members"]]
        if len(places) < 2:
            continue
        correlation = np.corrcoef(filled_TN[:, places].T)
        for cluster in _connected(np.asarray(correlation >= _MIN_CLUSTER_CORRELATION)):
            members = tuple(sorted(places[k] for k in cluster))
            if len(members) < 2 or any(set(members) <= of_group for of_group in covered):
                continue
            strongest = alike.iloc[sorted(cluster)].sort_values("z", key=np.abs, ascending=False).iloc[0]
            name = " + ".join([str(symbols[n]) for n in members])
            added.append({**strongest.to_dict(), "leader": name, "members": members, "lag": lag, "shape": shape})
    return pd.concat([rows, pd.DataFrame(added)], ignore_index=True) if added else rows


def _connected(linked_KK: NDArray[np.bool_]) -> list[set[int]]:
    """Connected components of a symmetric relation."""
    left, found = set(range(len(linked_KK))), []
    while left:
        cluster, frontier = set(), {min(left)}
        while frontier:
            cluster |= frontier
            frontier = {int(j) for k in frontier for j in np.flatnonzero(linked_KK[k])} - cluster
        found.append(cluster)
        left -= cluster
    return found
