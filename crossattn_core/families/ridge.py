"""The family 'ridge_var': ridge on lagged returns of every asset (a vector autoregression), the linear baseline to beat.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), E regressors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lagged_returns import LaggedReturnModel, lagged_design, return_deviation, scaled_returns
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels
from crossattn_core.training.epochs import EpochReport

__all__ = ["FittedRidge", "fit_ridge", "ridge_weights"]

KNOBS = ("baselines.ridge_lags", "baselines.ridge_penalty")


class FittedRidge(LaggedReturnModel):
    """Coefficients on standardised lagged returns."""

    def __init__(
        self,
        weight_ENO: NDArray[np.float64],
        deviation_N: NDArray[np.float64],
        target_scaler: TargetScaler,
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.weight_ENO = weight_ENO
        super().__init__(deviation_N, target_scaler, experiment, manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"weight_ENO": self.weight_ENO, **super().arrays()}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedRidge":
        """Rebuild from what ``save`` wrote."""
        return cls(arrays["weight_ENO"], arrays["deviation_N"], TargetScaler.from_arrays(arrays), experiment, manifest)

    def scaled_outputs(self, design_RE: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("re,eno->rno", design_RE, self.weight_ENO)


def fit_ridge(family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]) -> FittedRidge:
    """Fit on every row whose label is known at the cut-off; nothing is chosen, so nothing is held out."""
    settings = experiment.baselines
    panel = request.known_panel
    known_TNO = output_labels(panel, experiment.labels).known_at(request.cut_off)
    weight_T = np.asarray(request.row_weight_T[: request.cut_off + 1], dtype=np.float64)
    row_R = np.flatnonzero(np.isfinite(known_TNO).any(axis=(1, 2)) & (weight_T > 0))
    row_R = row_R[row_R >= settings.ridge_lags]
    if not len(row_R):
        raise TrainingError(
            f"{family}: no row with weight and a known label between rows {settings.ridge_lags} and {request.cut_off}; "
            "give the model more history"
        )
    deviation_N = return_deviation(panel)
    target_scaler = fit_target_scaler(panel, known_TNO, row_R)
    target_RNO = target_scaler.scaled(panel, known_TNO)[row_R].astype(np.float64)
    design_RE = lagged_design(scaled_returns(panel, deviation_N), row_R, settings.ridge_lags)
    weight_ENO = ridge_weights(design_RE, target_RNO, weight_T[row_R], settings.ridge_penalty)
    manifest = {**stamp(family, experiment, KNOBS), **request.record(row_R)}
    return FittedRidge(weight_ENO, deviation_N, target_scaler, experiment, manifest)


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


FAMILIES.add("ridge_var", Family(fit_ridge, FittedRidge.from_checkpoint, KNOBS))
