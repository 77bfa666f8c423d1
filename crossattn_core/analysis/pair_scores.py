"""Scores of pairs against their nulls: one score over lags and shapes, a p-value from shifted histories, and the table of pairs.

A score is the largest log prior of a lag + z^2 / 2, as the |z| that one certain lag would need: on that scale tails are short, so
the noise in a pair's own location and scale moves its p-value least. What is tested, and how histories are shifted: ``lead_lag``.

Axes: N followers, M leaders, L lags 1..L, S shifts, K shapes (linear, squared), P pairs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.stats.multiple_testing import benjamini_hochberg

__all__ = ["PAIR_COLUMNS", "SHAPES", "Nulls", "pair_score", "pair_table", "pooled_p_values"]

SHAPES = ("linear", "squared")

PAIR_COLUMNS = ("leader", "follower", "lag", "shape", "correlation", "z", "pairs", "p_value", "q_value")
"""Grain: leader and follower. ``lag`` bars of the strongest link, ``correlation`` there, ``z`` the smaller of the plain and the
partial one, ``pairs`` of bars that it rests on; ``p_value`` of the score over all lags and shapes, ``q_value`` after
Benjamini-Hochberg over all leaders and followers."""

_LEAST_LOG_PRIOR = 7.0
"""Added to scores, so that none is below 0: at 168 lags the last has a log prior of -6.9."""


@dataclass(frozen=True)
class Nulls:
    """Scores of shifted histories, and which pairs have any."""

    shifted_MN: NDArray[np.bool_]
    null_SMN: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Plain and partial."""

    def of_first(self, leaders: int) -> "Nulls":
        """Those of the first leaders alone."""
        plain_SMN, partial_SMN = self.null_SMN
        return Nulls(self.shifted_MN[:leaders], (plain_SMN[:, :leaders], partial_SMN[:, :leaders]))


def pair_score(z_LX: NDArray[np.float64], prior_LX: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest log prior + z^2 / 2 over the first axis, as the |z| that one certain lag would need; -1 where nothing is tested.

    On that scale tails are short: the noise in a pair's own location and scale moves its p-value least.
    """
    return _as_z(np.nan_to_num(_log(prior_LX) + z_LX**2 / 2, nan=-np.inf, neginf=-np.inf).max(axis=0))


def _as_z(score_X: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(score_X), np.sqrt(2 * np.maximum(score_X + _LEAST_LOG_PRIOR, 0.0)), -1.0)


def _log(value_X: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.log(value_X)


def pair_table(
    z_KLMN: NDArray[np.float64],
    partial_KLMN: NDArray[np.float64],
    correlation_KLMN: NDArray[np.float64],
    pairs_LMN: NDArray[np.float64],
    prior_LMN: NDArray[np.float64],
    nulls: Nulls,
    leaders: tuple[str, ...],
    followers: tuple[str, ...],
) -> pd.DataFrame:
    least_KLMN = np.where(z_KLMN * partial_KLMN > 0, np.minimum(np.abs(z_KLMN), np.abs(partial_KLMN)), 0.0)
    tested_KLMN = np.isfinite(z_KLMN) & np.isfinite(partial_KLMN)
    score_KLMN = _as_z(np.where(tested_KLMN, _log(prior_LMN) + least_KLMN**2 / 2, -np.inf))
    lags = score_KLMN.shape[1]
    flat_XMN = score_KLMN.reshape(-1, *score_KLMN.shape[2:])
    best_MN, score_MN = flat_XMN.argmax(axis=0), flat_XMN.max(axis=0)
    leader_P, follower_P = np.nonzero(score_MN >= 0)
    shape_P, lag_P = best_MN[leader_P, follower_P] // lags, best_MN[leader_P, follower_P] % lags
    at = (shape_P, lag_P, leader_P, follower_P)
    # A few hundred shifts leave noise in a pair's own null, which makes the smallest p-values too bold: the normal tail, weighted
    # by the prior over lags, bounds them.
    weight_P = prior_LMN[lag_P, leader_P, follower_P] / len(SHAPES)
    by_normal_P = np.minimum(2 * stats.norm.sf(least_KLMN[at]) / weight_P, 1.0)
    p_P, shifted_P = by_normal_P, nulls.shifted_MN[leader_P, follower_P]
    for null_SMN in nulls.null_SMN:
        by_shifts_K = pooled_p_values(score_MN, null_SMN, leader_P[shifted_P], follower_P[shifted_P])
        p_P[shifted_P] = np.maximum(p_P[shifted_P], by_shifts_K)
    table = pd.DataFrame(
        {
            "leader": np.array(leaders)[leader_P],
            "follower": np.array(followers)[follower_P],
            "lag": lag_P + 1,
            "shape": np.array(SHAPES)[shape_P],
            "correlation": correlation_KLMN[at],
            "z": np.sign(z_KLMN[at]) * least_KLMN[at],
            "pairs": pairs_LMN[lag_P, leader_P, follower_P].astype(np.int64),
            "p_value": p_P,
            "q_value": benjamini_hochberg(p_P),
        },
        columns=list(PAIR_COLUMNS),
    )
    return table.sort_values(["p_value", "z"], key=lambda value: -value.abs() if value.name == "z" else value, ignore_index=True)


def pooled_p_values(
    score_NN: NDArray[np.float64], null_SNN: NDArray[np.floating], leader_P: NDArray[np.int64], follower_P: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(P,) share of shifted scores at or above the pair's own; score (leader, follower), null (S, leader, follower).

    Each pair's null gives its own location and scale; the tail is read from all pairs' standardised nulls together, since
    a pair's few hundred shifts alone could never pass a false-discovery test over many pairs.
    """
    null_SP = np.asarray(null_SNN[:, leader_P, follower_P], dtype=np.float64)
    if not len(null_SP):
        return np.ones(len(leader_P))
    mean_P, deviation_P = null_SP.mean(axis=0), np.maximum(null_SP.std(axis=0), 1e-12)
    pooled = np.sort(((null_SP - mean_P) / deviation_P).ravel())
    own_P = (score_NN[leader_P, follower_P] - mean_P) / deviation_P
    above_P = len(pooled) - np.searchsorted(pooled, own_P, side="left")
    return (above_P + 1) / (len(pooled) + 1)
