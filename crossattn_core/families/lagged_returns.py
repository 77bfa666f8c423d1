"""What ridge and boosted trees share: a design matrix of every asset's lagged returns, and outputs in scaled units.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon), L lags, E = L * N regressors.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.scaled_outputs import ScaledOutputModel
from crossattn_core.families.targets import TargetScaler
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import bar_log_returns

__all__ = ["LaggedReturnModel", "lagged_design", "return_deviation", "scaled_returns"]

_CLIP = 6.0
"""Deviations beyond which a lagged return is cut."""


class LaggedReturnModel(ScaledOutputModel):
    """A model of scaled lagged returns, one function an asset and output.

    Args:
        deviation_N: of each asset's return of a bar: the unit of a regressor.
        target_scaler: the unit of an output.
    """

    def __init__(
        self, deviation_N: NDArray[np.float64], target_scaler: TargetScaler, experiment: Experiment, manifest: dict[str, Any]
    ) -> None:
        self.deviation_N, self.target_scaler, self.experiment = deviation_N, target_scaler, experiment
        self.identify(manifest)

    @abstractmethod
    def scaled_outputs(self, design_RE: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R, N, O) forecasts in scaled units; at least one row."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"deviation_N": self.deviation_N, **self.target_scaler.arrays()}

    def scaled_at(self, panel: Panel, rows: NDArray[np.int64], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
        lags = self.experiment.baselines.ridge_lags
        # Only the bars that are read: a day's forecast must not cost more with every year of history.
        first = max(int(rows.min()) - lags + 1, 0)
        returns_TN = scaled_returns(panel, self.deviation_N, first=first, last=int(rows.max()))
        return self.scaled_outputs(lagged_design(returns_TN, rows - first, lags))


def lagged_design(return_TN: NDArray[np.float64], rows: NDArray[np.integer], lags: int) -> NDArray[np.float64]:
    """(R, L * N) the newest ``lags`` returns of every asset at each row, newest first; 0 before the first bar."""
    padded_TN = np.concatenate([np.zeros((lags, return_TN.shape[1])), return_TN])
    place_RL = np.asarray(rows)[:, None] + lags - np.arange(lags)
    return padded_TN[place_RL].reshape(len(rows), -1)


def return_deviation(panel: Panel) -> NDArray[np.float64]:
    """(N,) root mean square log return over the bars with a candle; 1 for an asset that never moved."""
    return_TN = bar_log_returns(panel)
    deviation_N = np.sqrt((return_TN**2).sum(axis=0) / np.maximum(panel.is_fresh_TN.sum(axis=0), 1))
    return np.where(deviation_N > 0, deviation_N, 1.0)


def scaled_returns(
    panel: Panel, deviation_N: NDArray[np.float64], *, first: int = 0, last: int | None = None
) -> NDArray[np.float64]:
    """(last - first + 1, N) log returns in deviations, cut at a few of them."""
    return np.clip(bar_log_returns(panel, first=first, last=last) / deviation_N, -_CLIP, _CLIP)
