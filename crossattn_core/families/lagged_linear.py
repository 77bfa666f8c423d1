"""What the linear families share: coefficients on lagged returns, fitted on every row whose label is known at the cut-off.

Axes: R rows, N assets, O outputs (the next bar, then each horizon), E regressors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.lagged_returns import LaggedReturnModel, lagged_design, return_deviation, scaled_returns
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels

__all__ = ["FittedLinear", "Solver", "fit_linear"]

_SUMMED = 2_000_000
"""Coefficients up to which each forecast is summed by itself: those of 160 assets with a day of hourly lags."""
_ROWS = 64
"""Rows of a product with more of them."""

Solver = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], TargetScaler], NDArray[np.float64]]
"""(R, E) regressors, (R, N, O) scaled targets, NaN where there is none, (R,) weights, the scaler -> (E, N, O) coefficients."""


class FittedLinear(LaggedReturnModel):
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

    @property
    def found_nothing(self) -> bool:
        return not self.weight_ENO.any()

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"weight_ENO": self.weight_ENO, **super().arrays()}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedLinear":
        """Rebuild from what ``save`` wrote."""
        return cls(arrays["weight_ENO"], arrays["deviation_N"], TargetScaler.from_arrays(arrays), experiment, manifest)

    def scaled_outputs(self, design_RE: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.weight_ENO.size <= _SUMMED:
            return np.einsum("re,eno->rno", design_RE, self.weight_ENO)
        # Coefficients that fit no cache are read once for many rows; always as many: a row's last bits must not hang on how many
        # others are asked for.
        regressors, *outputs = self.weight_ENO.shape
        weight_EC, rows = self.weight_ENO.reshape(regressors, -1), len(design_RE)
        padded_RE = np.concatenate([design_RE, np.zeros((-rows % _ROWS, regressors))])
        blocks = [block_RE @ weight_EC for block_RE in padded_RE.reshape(-1, _ROWS, regressors)]
        return np.concatenate(blocks)[:rows].reshape(rows, *outputs)


def fit_linear(family: str, request: FitRequest, experiment: Experiment, solver: Solver, knobs: Sequence[str]) -> FittedLinear:
    """Fit on every row whose label is known at the cut-off; what a solver chooses it chooses on these, so none is held out.

    Raises:
        TrainingError: no row is left.
    """
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
    weight_ENO = solver(design_RE, target_RNO, weight_T[row_R], target_scaler)
    manifest = {**stamp(family, experiment, knobs), **request.record(row_R)}
    return FittedLinear(weight_ENO, deviation_N, target_scaler, experiment, manifest)
