"""The family 'ridge_var': ridge on lagged returns of every asset (a vector autoregression), the linear baseline to beat.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), E regressors.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lagged_linear import FittedLinear, fit_linear
from crossattn_core.families.registry import FAMILIES
from crossattn_core.training.epochs import EpochReport

__all__ = ["fit_ridge", "ridge_weights"]

KNOBS = ("baselines.ridge_lags", "baselines.ridge_penalty")


def fit_ridge(family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]) -> FittedLinear:
    """Fit on every row whose label is known at the cut-off; nothing is chosen, so nothing is held out."""
    penalty = experiment.baselines.ridge_penalty
    return fit_linear(family, request, experiment, lambda x, y, weight, _: ridge_weights(x, y, weight, penalty), KNOBS)


def ridge_weights(
    design_RE: NDArray[np.float64], target_RNO: NDArray[np.float64], weight_R: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """(E, N, O) weighted ridge solutions without intercept; a NaN target leaves its row out of that column.

    Minimises sum_r weight_r (y_r - x_r . b)^2 + penalty |b|^2 for each (asset, output).
    """
    regressors = design_RE.shape[1]
    seen_RNO = np.isfinite(target_RNO)
    filled_RNO = np.where(seen_RNO, target_RNO, 0.0)
    solved_ENO = np.zeros((regressors, *target_RNO.shape[1:]))
    # Columns that miss the same rows share one decomposition; on a 24/7 market that is all of them.
    columns: dict[bytes, list[tuple[int, int]]] = {}
    for n, o in np.ndindex(target_RNO.shape[1:]):
        columns.setdefault(np.packbits(seen_RNO[:, n, o]).tobytes(), []).append((n, o))
    weighted_RE = design_RE * weight_R[:, None]
    gram_EE = weighted_RE.T @ design_RE
    for members in columns.values():
        n0, o0 = members[0]
        seen_R = seen_RNO[:, n0, o0]
        # Take off the few rows that are missing, or add up the few that are there: whichever is less work.
        if 2 * seen_R.sum() > len(seen_R):
            seen_gram_EE = gram_EE - weighted_RE[~seen_R].T @ design_RE[~seen_R]
        else:
            seen_gram_EE = weighted_RE[seen_R].T @ design_RE[seen_R]
        targets_RC = np.stack([filled_RNO[:, n, o] for n, o in members], axis=1)
        solution_EC = np.linalg.solve(seen_gram_EE + penalty * np.eye(regressors), weighted_RE.T @ targets_RC)
        for c, (n, o) in enumerate(members):
            solved_ENO[:, n, o] = solution_EC[:, c]
    return solved_ENO


FAMILIES.add("ridge_var", Family(fit_ridge, FittedLinear.from_checkpoint, KNOBS))
