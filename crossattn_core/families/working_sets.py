"""The LASSO of very many regressors: a target's path is followed among the few that its moments name, and checked against all.

Products of 24,000 regressors are 4.6 GB and most of the time, while a target's path touches a dozen of them. A path among some
regressors is the path among all as long as none that was left out earns more than the penalty (the condition of the optimum); one
that does joins, and the path is followed again. So coefficients are those of all regressors at their penalty. Moments and checks
are matrix products for all targets at once.

Axes: R rows, N targets, E regressors, C those of a target's working set.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.families.least_angle import lasso_by_criterion

__all__ = ["sparse_weights_of_many"]

_AT_FIRST, _MORE = 64, 16
"""Regressors of a working set, and most that join it after a check."""
_TOLERANCE = 1e-9
"""Share of a target's largest moment by which the condition of the optimum may be missed."""


def sparse_weights_of_many(
    scaled_RE: NDArray[np.float64],
    target_RN: NDArray[np.float64],
    weight_R: NDArray[np.float64],
    unit_EN: NDArray[np.float64],
    *,
    ridge: float,
) -> NDArray[np.float64]:
    """(E, N) what ``lasso.sparse_weights`` gives, without the products of all regressors; memory E * N.

    Args:
        scaled_RE: regressors times the root of their rows' weights.
        target_RN: NaN leaves its row out of that column.
        weight_R: sums to the effective number of rows.
        unit_EN: what a target's regressors are multiplied by before they are penalised alike.
    """
    seen_RN = np.isfinite(target_RN)
    filled_RN = np.where(seen_RN, target_RN, 0.0) * np.sqrt(weight_R)[:, None]
    rows_N = weight_R @ seen_RN
    moment_EN = unit_EN * (scaled_RE.T @ filled_RN)
    solved_EN = np.zeros_like(moment_EN)
    sets = [np.argpartition(-np.abs(moment_E), min(_AT_FIRST, len(moment_E)) - 1)[:_AT_FIRST] for moment_E in moment_EN.T]
    left_N = np.flatnonzero(rows_N > 1)
    while len(left_N):  # ends: each round adds a regressor to every set that is left
        residual_RN, penalty_N = filled_RN[:, left_N].copy(), np.zeros(len(left_N))
        for place, n in enumerate(left_N):
            chosen_C = np.sort(sets[n])
            x_RC = scaled_RE[:, chosen_C] * seen_RN[:, n, None] * unit_EN[chosen_C, n]
            gram_CC, moment_C = x_RC.T @ x_RC, moment_EN[chosen_C, n]
            found_C = lasso_by_criterion(
                gram_CC.__getitem__,
                moment_C,
                float(filled_RN[:, n] @ filled_RN[:, n]),
                float(rows_N[n]),
                ridge=ridge * float(rows_N[n]),
                stretch=1 + ridge,
                regressors=len(moment_EN),
            )
            solved_EN[:, n] = 0.0
            solved_EN[chosen_C, n] = unit_EN[chosen_C, n] * found_C
            shrunk_C = found_C / (1 + ridge)
            residual_RN[:, place] -= x_RC @ shrunk_C
            earned_C = moment_C - gram_CC @ shrunk_C - ridge * rows_N[n] * shrunk_C
            penalty_N[place] = np.abs(earned_C[shrunk_C != 0]).max() if shrunk_C.any() else np.abs(moment_C).max()
        earned_EN = np.abs(unit_EN[:, left_N] * (scaled_RE.T @ residual_RN))
        for place, n in enumerate(left_N):
            earned_EN[sets[n], place] = 0.0
        most_N = penalty_N + _TOLERANCE * np.abs(moment_EN[:, left_N]).max(axis=0)
        for place in np.flatnonzero((earned_EN > most_N).any(axis=0)):
            n, earned_E = left_N[place], earned_EN[:, place]
            joins_X = np.argsort(-earned_E, kind="stable")[:_MORE]
            sets[n] = np.concatenate([sets[n], joins_X[earned_E[joins_X] > most_N[place]]])
        left_N = left_N[(earned_EN > most_N).any(axis=0)]
    return solved_EN
