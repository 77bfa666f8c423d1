"""The family 'ridge_var': ridge on lagged returns of every asset (a vector autoregression), the linear baseline to beat.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), E regressors,
C columns (asset, output), U rows that a column misses, K those that one misses.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

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

    A column that misses a few of the rows of a decomposition takes them off by a low-rank update: with thousands of regressors
    every asset has missing candles of its own, and a decomposition for each column would grow with the fourth power of the
    assets.
    With more regressors than rows the system is that of the rows, so that memory grows with their product alone.
    """
    seen_RNO = np.isfinite(target_RNO)
    root_R = np.sqrt(weight_R)
    scaled_RE = design_RE if (root_R == 1).all() else design_RE * root_R[:, None]
    scaled_RNO = np.where(seen_RNO, target_RNO, 0.0) * root_R[:, None, None]
    solved_ENO = np.zeros((design_RE.shape[1], *target_RNO.shape[1:]))
    for rows_R, columns in _shared_rows(seen_RNO, at_most=min(design_RE.shape) // 2):
        n_C, o_C = np.array(columns).T
        x_KE = scaled_RE if rows_R.all() else scaled_RE[rows_R]
        solve = _solve_by_rows if len(x_KE) < x_KE.shape[1] else _solve
        solved_ENO[:, n_C, o_C] = solve(x_KE, scaled_RNO[rows_R][:, n_C, o_C], seen_RNO[rows_R][:, n_C, o_C], penalty)
    return solved_ENO


def _shared_rows(seen_RNO: NDArray[np.bool_], at_most: int) -> list[tuple[NDArray[np.bool_], list[tuple[int, int]]]]:
    """Sets of rows, each with the (asset, output) columns that are solved from it: those that miss ``at_most`` rows of it.

    A column without a row is in none.
    """
    shared: list[tuple[NDArray[np.bool_], list[tuple[int, int]]]] = [(np.ones(len(seen_RNO), dtype=bool), [])]
    for n, o in np.ndindex(seen_RNO.shape[1:]):
        seen_R = seen_RNO[:, n, o]
        if not seen_R.any():
            continue
        for rows_R, columns in shared:
            if not (seen_R & ~rows_R).any() and (rows_R & ~seen_R).sum() <= at_most:
                columns.append((n, o))
                break
        else:
            # An asset that was listed late or sleeps at night: its outputs miss almost the same rows.
            rows_R = np.any(seen_RNO[:, n], axis=1)
            shared.append((rows_R if (rows_R & ~seen_R).sum() <= at_most else seen_R, [(n, o)]))
    return [(rows_R, columns) for rows_R, columns in shared if columns]


def _solve(
    x_RE: NDArray[np.float64], y_RC: NDArray[np.float64], seen_RC: NDArray[np.bool_], penalty: float
) -> NDArray[np.float64]:
    """(E, C) ridge solutions of each column on the rows that it has, all from one Cholesky decomposition A = L L' of all rows.

    With V = L^-1 x_missing' a column's solution is L'^-1 (I + V (I - V'V)^-1 V') L^-1 x'y. ``y_RC`` is 0 where it is missing.
    """
    factor_EE = _factor(x_RE.T, penalty)
    half_EC = linalg.solve_triangular(factor_EE, x_RE.T @ y_RC, lower=True, check_finite=False)
    missing_U = np.flatnonzero(~seen_RC.all(axis=1))
    taken_EU = linalg.solve_triangular(factor_EE, x_RE[missing_U].T, lower=True, check_finite=False)
    for c, seen_U in enumerate(seen_RC[missing_U].T):
        if not seen_U.all():
            v_EK = taken_EU[:, ~seen_U]
            left_KK = np.eye(v_EK.shape[1]) - v_EK.T @ v_EK
            half_EC[:, c] += v_EK @ linalg.solve(left_KK, v_EK.T @ half_EC[:, c], assume_a="pos", check_finite=False)
    return linalg.solve_triangular(factor_EE, half_EC, lower=True, trans=1, check_finite=False)


def _solve_by_rows(
    x_RE: NDArray[np.float64], y_RC: NDArray[np.float64], seen_RC: NDArray[np.bool_], penalty: float
) -> NDArray[np.float64]:
    """``_solve`` where regressors outnumber rows: b = X' z with (X X' + penalty I) z = y, and z 0 at rows that a column misses.

    Of A z = y + (unknown at the missing rows), those unknowns make z 0 there: z = A^-1 y - A^-1_missing (A^-1_missing,missing)^-1
    (A^-1 y)_missing.
    """
    factor = _factor(x_RE, penalty), True
    z_RC = linalg.cho_solve(factor, y_RC, check_finite=False)
    missing_U = np.flatnonzero(~seen_RC.all(axis=1))
    inverse_RU = linalg.cho_solve(factor, np.eye(len(x_RE))[:, missing_U], check_finite=False)
    for c, seen_U in enumerate(seen_RC[missing_U].T):
        if not seen_U.all():
            inverse_RK, row_K = inverse_RU[:, ~seen_U], missing_U[~seen_U]
            z_RC[:, c] -= inverse_RK @ linalg.solve(inverse_RK[row_K], z_RC[row_K, c], assume_a="pos", check_finite=False)
    return x_RE.T @ z_RC


def _factor(x_XY: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """(X, X) lower Cholesky factor of x x' + penalty I."""
    # Fortran order is what LAPACK works in: nothing is copied.
    (syrk,) = linalg.get_blas_funcs(("syrk",), (x_XY,))
    gram_XX = syrk(1.0, x_XY, lower=True) if x_XY.flags.f_contiguous else syrk(1.0, x_XY.T, trans=True, lower=True)
    gram_XX[np.diag_indices_from(gram_XX)] += penalty
    return linalg.cholesky(gram_XX, lower=True, overwrite_a=True, check_finite=False)


FAMILIES.add("ridge_var", Family(fit_ridge, FittedLinear.from_checkpoint, KNOBS))
