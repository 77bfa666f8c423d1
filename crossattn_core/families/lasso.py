"""The families 'adaptive_lasso' and 'elastic_net': few lagged returns of few assets, the baseline of sparse leads.

    adaptive_lasso   H. Zou, "The Adaptive Lasso and Its Oracle Properties" (2006): each regressor's penalty is divided by the
                     size of its ridge coefficient, so that strong ones are hardly shrunk and weak ones fall out
    elastic_net      H. Zou, T. Hastie (2005): the LASSO with a ridge term; of regressors that move together it keeps all

On the regressors and rows of ridge_var. Strength is chosen for each asset and output by the extended BIC on the training rows
(see least_angle.py), so nothing is held out. A horizon's coefficients are those that the next bar's imply for its bars, and
what a second fit finds in the rest: a lead that the next bar shows plainly is lost in the noise of a day.

Axes: R rows, N assets, O outputs (the next bar, then each horizon), L lags, E = L * N regressors, U rows that an output misses.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment, LabelSettings
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lagged_linear import FittedLinear, fit_linear
from crossattn_core.families.least_angle import lasso_by_criterion
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.ridge import ridge_weights
from crossattn_core.families.targets import TargetScaler
from crossattn_core.families.working_sets import sparse_weights_of_many
from crossattn_core.training.epochs import EpochReport

__all__ = ["fit_adaptive_lasso", "fit_elastic_net", "implied_weights", "sparse_weights"]

_EVERY_PRODUCT = 8192
"""Regressors up to which the products of all of them are held: half a gigabyte, 340 assets with a day of hourly lags."""

LASSO_KNOBS = ("baselines.ridge_lags", "baselines.ridge_penalty", "baselines.lasso_power")
NET_KNOBS = ("baselines.ridge_lags", "baselines.elastic_net_ridge")


def fit_adaptive_lasso(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedLinear:
    """Fit on every row whose label is known at the cut-off."""
    settings = experiment.baselines

    def solve(x_RE: NDArray[np.float64], y_RNO: NDArray[np.float64], weight_R: NDArray[np.float64]) -> NDArray[np.float64]:
        size_ENO = np.abs(ridge_weights(x_RE, y_RNO, weight_R, settings.ridge_penalty))
        return sparse_weights(x_RE, y_RNO, weight_R, size_ENO=size_ENO, power=settings.lasso_power)

    return fit_linear(family, request, experiment, partial(_next_bar_first, solve, experiment.labels), LASSO_KNOBS)


def fit_elastic_net(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedLinear:
    """Fit on every row whose label is known at the cut-off."""
    ridge = experiment.baselines.elastic_net_ridge
    solver = partial(_next_bar_first, partial(sparse_weights, ridge=ridge), experiment.labels)
    return fit_linear(family, request, experiment, solver, NET_KNOBS)


def implied_weights(next_bar_EN: NDArray[np.float64], earliest: int, latest: int) -> NDArray[np.float64]:
    """(E, N) coefficients of the sum of the returns ``earliest`` .. ``latest`` bars ahead (1 is the next bar), given the next
    bar's: what was ``l`` bars ago when the next bar came is ``l + s - 1`` bars ago when the one ``s`` ahead does.

    >>> implied_weights(np.array([[1.0], [10.0], [100.0]]), 2, 3)[:, 0].tolist()  # one asset, three lags
    [110.0, 100.0, 0.0]
    """
    assets = next_bar_EN.shape[1]
    by_lag_LMN = next_bar_EN.reshape(-1, assets, assets)
    lags = len(by_lag_LMN)
    summed_LMN = np.concatenate([np.zeros_like(by_lag_LMN[:1]), np.cumsum(by_lag_LMN, axis=0)])
    start_L = np.minimum(np.arange(lags) + earliest - 1, lags)
    stop_L = np.minimum(np.arange(lags) + latest, lags)
    return (summed_LMN[stop_L] - summed_LMN[start_L]).reshape(next_bar_EN.shape)


def _next_bar_first(
    solve: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    labels: LabelSettings,
    x_RE: NDArray[np.float64],
    y_RNO: NDArray[np.float64],
    weight_R: NDArray[np.float64],
    target_scaler: TargetScaler,
) -> NDArray[np.float64]:
    """(E, N, O) the next bar's coefficients, then each horizon's: those implied by them, and what ``solve`` finds in the rest."""
    next_bar_ENO = solve(x_RE, y_RNO[:, :, :1], weight_R)
    per_unit_NO = target_scaler.deviation_NO[:, :1].astype(np.float64) / target_scaler.deviation_NO
    spans = [(labels.execution_lag + 1, labels.execution_lag + horizon) for horizon in labels.horizons]
    implied_ENO = np.stack([implied_weights(next_bar_ENO[..., 0], *span) for span in spans], axis=-1) * per_unit_NO[:, 1:]
    rest_RNO = y_RNO[:, :, 1:] - np.einsum("re,eno->rno", x_RE, implied_ENO, optimize=True)
    return np.concatenate([next_bar_ENO, implied_ENO + solve(x_RE, rest_RNO, weight_R)], axis=-1)


def sparse_weights(
    design_RE: NDArray[np.float64],
    target_RNO: NDArray[np.float64],
    weight_R: NDArray[np.float64],
    *,
    size_ENO: NDArray[np.float64] | None = None,
    power: float = 1.0,
    ridge: float = 0.0,
) -> NDArray[np.float64]:
    """(E, N, O) weighted LASSO or elastic-net solutions without intercept; a NaN target leaves its row out of that column.

    Minimises 1/2 sum_r weight_r (y_r - x_r . b)^2 + ridge/2 R |b|^2 + penalty sum_e |b_e| / size_e^power for each (asset,
    output) on regressors of unit variance, R the weights' effective number of rows; then divides by the elastic net's
    1 / (1 + ridge).

    Args:
        size_ENO: of a first estimate; none: all alike.
        ridge: share of a regressor's own sum of squares.
    """
    weight_R = weight_R * (weight_R.sum() / np.square(weight_R).sum())
    root_R1 = np.sqrt(weight_R)[:, None]
    scaled_RE = design_RE * root_R1
    by_working_sets = design_RE.shape[1] > _EVERY_PRODUCT
    gram_EE = np.zeros((0, 0)) if by_working_sets else scaled_RE.T @ scaled_RE
    energy_E = np.einsum("re,re->e", scaled_RE, scaled_RE) if by_working_sets else np.diagonal(gram_EE)
    deviation_E = np.sqrt(energy_E / weight_R.sum())
    # A regressor that never moves has no coefficient.
    per_deviation_E = np.divide(1.0, deviation_E, out=np.zeros_like(deviation_E), where=deviation_E > 0)
    solved_ENO = np.zeros((design_RE.shape[1], *target_RNO.shape[1:]))
    if by_working_sets:
        for o in range(target_RNO.shape[2]):
            unit_EN = np.repeat(per_deviation_E[:, None], target_RNO.shape[1], axis=1)
            if size_ENO is not None:
                unit_EN *= (size_ENO[:, :, o] * deviation_E[:, None]) ** power
            solved_ENO[:, :, o] = sparse_weights_of_many(scaled_RE, target_RNO[:, :, o], weight_R, unit_EN, ridge=ridge)
        return solved_ENO
    for n, o in np.ndindex(target_RNO.shape[1:]):
        seen_R = np.isfinite(target_RNO[:, n, o])
        target_R = np.where(seen_R, target_RNO[:, n, o], 0.0) * root_R1[:, 0]
        unit_E = per_deviation_E
        if size_ENO is not None:
            unit_E = unit_E * (size_ENO[:, n, o] * deviation_E) ** power
        moment_E = unit_E * (scaled_RE.T @ target_R)
        few = 2 * seen_R.sum() < len(seen_R)
        # The few rows that are missing are taken off, or the few that are there summed up: whichever is less work.
        part_UE = scaled_RE[seen_R if few else ~seen_R]

        def column(
            j: int, part_UE: NDArray[np.float64] = part_UE, unit_E: NDArray[np.float64] = unit_E, few: bool = few
        ) -> NDArray[np.float64]:
            products_E = part_UE.T @ part_UE[:, j]
            return unit_E * unit_E[j] * (products_E if few else gram_EE[:, j] - products_E)

        rows = float(weight_R[seen_R].sum())
        if rows > 1:
            found_E = lasso_by_criterion(
                column, moment_E, float(target_R @ target_R), rows, ridge=ridge * rows, stretch=1 + ridge
            )
            solved_ENO[:, n, o] = unit_E * found_E
    return solved_ENO


FAMILIES.add("adaptive_lasso", Family(fit_adaptive_lasso, FittedLinear.from_checkpoint, LASSO_KNOBS))
FAMILIES.add("elastic_net", Family(fit_elastic_net, FittedLinear.from_checkpoint, NET_KNOBS))
