"""What families share that forecast in units of each label's own volatility: the way back to returns, and who can be read.

Axes: R rows, N assets, O outputs (the next bar, then each horizon).
"""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.targets import TargetScaler
from crossattn_core.panel.panel import Panel

__all__ = ["ScaledOutputModel", "readable_rows"]


class ScaledOutputModel(FittedModel):
    """A model whose outputs are labels in scaled units."""

    target_scaler: TargetScaler
    """The unit of an output."""
    experiment: Experiment

    @abstractmethod
    def scaled_at(self, panel: Panel, rows: NDArray[np.int64], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(R, N, O) forecasts in scaled units; at least one row."""

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows)[:, :, 1:]

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._returns(panel, rows)[:, :, 0]

    def _returns(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        rows = np.asarray(rows, dtype=np.int64)
        unit_RNO = self.target_scaler.unit_RNO(panel, rows)
        if not len(rows):
            return unit_RNO
        readable_RN = readable_rows(panel, rows, self.experiment)
        scaled_RNO = self.scaled_at(panel, rows, readable_RN)
        return np.where(readable_RN[..., None], scaled_RNO * unit_RNO, np.nan).astype(np.float32)


def readable_rows(panel: Panel, rows: NDArray[np.int64], experiment: Experiment) -> NDArray[np.bool_]:
    """(R, N) whether each asset's newest candle is young enough to be read at the row."""
    with np.errstate(invalid="ignore"):
        return panel.age_hours_TN[rows] <= experiment.features.max_age_hours
