"""The family 'ridge_var': the linear baseline that every network has to beat.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), E regressors.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import model_id_of, stamp, write_checkpoint
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels
from crossattn_core.model.baselines.ridge import lagged_design, ridge_weights
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import hourly_log_returns

__all__ = ["FittedRidge", "fit_ridge", "scaled_returns"]

_CLIP = 6.0
"""Deviations beyond which a lagged return is cut."""


class FittedRidge(FittedModel):
    """Coefficients on standardised lagged returns."""

    family = "ridge_var"

    def __init__(
        self,
        weight_ENO: NDArray[np.float64],
        deviation_N: NDArray[np.float64],
        target_scaler: TargetScaler,
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.weight_ENO = weight_ENO
        self.deviation_N = deviation_N
        self.target_scaler = target_scaler
        self.experiment = experiment
        self.manifest = manifest
        self.model_id = manifest.setdefault("model_id", model_id_of(self.arrays(), manifest))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint holds, by name."""
        return {"weight_ENO": self.weight_ENO, "deviation_N": self.deviation_N, **self.target_scaler.arrays()}

    @classmethod
    def from_checkpoint(cls, arrays: dict[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment) -> "FittedRidge":
        """Rebuild from what ``save`` wrote."""
        return cls(arrays["weight_ENO"], arrays["deviation_N"], TargetScaler.from_arrays(arrays), experiment, manifest)

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows)[:, :, 1:]

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows)[:, :, 0]

    def save(self, folder: Path) -> Path:
        return write_checkpoint(folder, self.arrays(), self.manifest)

    def _returns(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        rows = np.asarray(rows, dtype=np.int64)
        design_RE = lagged_design(scaled_returns(panel, self.deviation_N), rows, self.experiment.baselines.ridge_lags)
        scaled_RNO = np.einsum("re,eno->rno", design_RE, self.weight_ENO)
        with np.errstate(invalid="ignore"):
            readable_RN = panel.age_hours_TN[rows] <= self.experiment.features.max_age_hours
        answer_RNO = scaled_RNO * self.target_scaler.unit_RNO(panel, rows)
        return np.where(readable_RN[..., None], answer_RNO, np.nan).astype(np.float32)


def fit_ridge(request: FitRequest, experiment: Experiment) -> FittedRidge:
    """Fit on every row whose label is known at the cut-off; nothing is chosen, so nothing is held out."""
    settings = experiment.baselines
    panel = request.panel.until(request.cut_off + 1)
    known_TNO = output_labels(panel, experiment.labels).known_at(request.cut_off)
    weight_T = np.asarray(request.row_weight_T[: request.cut_off + 1], dtype=np.float64)
    row_R = np.flatnonzero(np.isfinite(known_TNO).any(axis=(1, 2)) & (weight_T > 0))
    row_R = row_R[row_R >= settings.ridge_lags]
    if not len(row_R):
        raise TrainingError(
            f"ridge_var: no row with weight and a known label between rows {settings.ridge_lags} and {request.cut_off}; "
            "give the model more history"
        )
    return_TN = hourly_log_returns(panel)
    deviation_N = np.sqrt((return_TN[: request.cut_off + 1] ** 2).sum(axis=0) / np.maximum(panel.is_fresh_TN.sum(axis=0), 1))
    deviation_N = np.where(deviation_N > 0, deviation_N, 1.0)
    target_scaler = fit_target_scaler(panel, known_TNO, row_R)
    target_RNO = target_scaler.scaled(panel, known_TNO)[row_R].astype(np.float64)
    design_RE = lagged_design(scaled_returns(panel, deviation_N), row_R, settings.ridge_lags)
    weight_ENO = ridge_weights(design_RE, target_RNO, weight_T[row_R], settings.ridge_penalty)
    manifest = {
        **stamp("ridge_var", experiment),
        "panel_hash": panel.content_hash,
        "cut_off": str(panel.as_of_T[request.cut_off]),
        "train_start": str(panel.as_of_T[row_R[0]]),
        "train_rows": len(row_R),
        "validation_rows": 0,
        "validation_loss": None,
        "parent_id": None,
    }
    return FittedRidge(weight_ENO, deviation_N, target_scaler, experiment, manifest)


def scaled_returns(panel: Panel, deviation_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, N) hourly log returns in deviations, cut at a few of them."""
    return np.clip(hourly_log_returns(panel) / deviation_N, -_CLIP, _CLIP)
