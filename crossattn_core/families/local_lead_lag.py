"""The family 'local_lead_lag': each day's leaders and lags, by recent lagged correlations, and a linear map of what they did.

After L. Zhao and Y. Shen, "Rethinking Channel Dependence for Multivariate Time Series Forecasting: Learning from Leading
Indicators" (LIFT, 2024, arXiv:2401.17548), compact: for each asset the others whose past correlates most with its own, each at
its best lag, are found anew every day on the bars before it; their returns, shifted by the lag, are what is still to come. A
ridge on all training rows says how much of that to take, asset by asset. Theirs mixes frequencies of a backbone's forecast.

Axes: T bars, R rows, N assets (targets), M assets (sources), L lags, K leaders of an asset, O outputs (the next bar, then each
horizon), W bars of a window.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest
from crossattn_core.families.lagged_returns import return_deviation, scaled_returns
from crossattn_core.families.registry import FAMILIES
from crossattn_core.families.ridge import ridge_weights
from crossattn_core.families.scaled_outputs import ScaledOutputModel
from crossattn_core.families.targets import TargetScaler, fit_target_scaler, output_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.training.epochs import EpochReport

__all__ = ["FittedLocalLeads", "Leads", "fit_local_leads", "lagged_correlations", "strongest_leads"]

KNOBS = ("baselines.ridge_lags", "baselines.ridge_penalty", "baselines.lead_window_bars", "baselines.leaders")


@dataclass(frozen=True)
class Leads:
    """The leaders of each asset, strongest first."""

    source_NK: NDArray[np.int64]
    lag_NK: NDArray[np.int64]
    """Bars from the leader's move to the follower's, at least 1."""
    correlation_NK: NDArray[np.float64]


class FittedLocalLeads(ScaledOutputModel):
    """How much each asset takes of what its leaders did."""

    def __init__(
        self,
        weight_KNO: NDArray[np.float64],
        size_KNO: NDArray[np.float64],
        deviation_N: NDArray[np.float64],
        target_scaler: TargetScaler,
        experiment: Experiment,
        manifest: dict[str, Any],
    ) -> None:
        self.weight_KNO, self.size_KNO, self.deviation_N = weight_KNO, size_KNO, deviation_N
        self.target_scaler, self.experiment = target_scaler, experiment
        self.identify(manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        own = {"weight_KNO": self.weight_KNO, "size_KNO": self.size_KNO, "deviation_N": self.deviation_N}
        return {**own, **self.target_scaler.arrays()}

    @classmethod
    def from_checkpoint(
        cls, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment
    ) -> "FittedLocalLeads":
        """Rebuild from what ``save`` wrote."""
        weight_KNO, size_KNO, deviation_N = (arrays[name] for name in ("weight_KNO", "size_KNO", "deviation_N"))
        return cls(weight_KNO, size_KNO, deviation_N, TargetScaler.from_arrays(arrays), experiment, manifest)

    def scaled_at(self, panel: Panel, rows: NDArray[np.int64], readable_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
        ahead_RNKO = _still_to_come(panel, rows, self.deviation_N, self.experiment)
        return np.einsum("rnko,kno->rno", ahead_RNKO / self.size_KNO.swapaxes(0, 1), self.weight_KNO)

    def leads_at(self, panel: Panel, row: int) -> Leads:
        """The leaders in force at a row."""
        returns_TN = scaled_returns(panel, self.deviation_N)
        return _leads_before(returns_TN, int(_first_of_day(panel, np.array([row]))[0]), self.experiment)


def fit_local_leads(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedLocalLeads:
    """Fit on every row whose label is known at the cut-off; nothing is chosen on rows, so nothing is held out.

    Raises:
        TrainingError: no row is left.
    """
    panel = request.known_panel
    known_TNO = output_labels(panel, experiment.labels).known_at(request.cut_off)
    weight_T = request.known_weight_T.astype(np.float64)
    row_R = np.flatnonzero(np.isfinite(known_TNO).any(axis=(1, 2)) & (weight_T > 0))
    row_R = row_R[row_R >= experiment.baselines.ridge_lags]
    if not len(row_R):
        raise TrainingError(
            f"{family}: no row with weight and a known label between rows {experiment.baselines.ridge_lags} and "
            f"{request.cut_off}; give the model more history"
        )
    deviation_N = return_deviation(panel)
    target_scaler = fit_target_scaler(panel, known_TNO, row_R)
    target_RNO = target_scaler.scaled(panel, known_TNO)[row_R].astype(np.float64)
    ahead_RNKO = _still_to_come(panel, row_R, deviation_N, experiment)
    # In units of their own size, so that one penalty means the same for all.
    size_NKO = np.sqrt(np.square(ahead_RNKO).mean(axis=0))
    size_NKO = np.where(size_NKO > 0, size_NKO, 1.0)
    weight_KNO = np.zeros((ahead_RNKO.shape[2], *target_RNO.shape[1:]))
    for n, o in np.ndindex(target_RNO.shape[1:]):
        design_RK, target_R11 = ahead_RNKO[:, n, :, o] / size_NKO[n, :, o], target_RNO[:, n : n + 1, o : o + 1]
        weight_KNO[:, n, o] = ridge_weights(design_RK, target_R11, weight_T[row_R], experiment.baselines.ridge_penalty)[:, 0, 0]
    manifest = {**stamp(family, experiment, KNOBS), **request.record(row_R)}
    return FittedLocalLeads(weight_KNO, size_NKO.swapaxes(0, 1), deviation_N, target_scaler, experiment, manifest)


def lagged_correlations(window_WN: NDArray[np.float64], lags: int, bars: int) -> NDArray[np.float64]:
    """(N, M, L) correlation of each asset's return with each other's 1 .. L bars before, means taken as 0; 0 with itself.

    A window of fewer than ``bars`` bars counts as one filled up with bars of no correlation.
    """
    assets, held = window_WN.shape[1], len(window_WN)
    found_NML = np.zeros((assets, assets, lags))
    deviation_N = np.sqrt(np.square(window_WN).mean(axis=0)) if held else np.zeros(assets)
    scaled_WN = np.divide(window_WN, deviation_N, out=np.zeros_like(window_WN), where=deviation_N > 0)
    for lag in range(1, min(lags, held - 1) + 1):
        found_NML[:, :, lag - 1] = scaled_WN[lag:].T @ scaled_WN[:-lag] / max(bars, held)
    found_NML[np.arange(assets), np.arange(assets)] = 0.0
    return found_NML


def strongest_leads(correlation_NML: NDArray[np.float64], leaders: int) -> Leads:
    """The ``leaders`` strongest others of each asset, each at its strongest lag."""
    best_NM = np.abs(correlation_NML).argmax(axis=2)
    at_best_NM = np.take_along_axis(correlation_NML, best_NM[..., None], axis=2)[..., 0]
    size_NM = np.abs(at_best_NM)
    np.fill_diagonal(size_NM, -1.0)
    source_NK = np.argsort(-size_NM, axis=1, kind="stable")[:, : min(leaders, max(len(size_NM) - 1, 1))]
    lag_NK = np.take_along_axis(best_NM + 1, source_NK, axis=1)
    return Leads(source_NK, lag_NK, np.take_along_axis(at_best_NM, source_NK, axis=1))


def _leads_before(returns_TN: NDArray[np.float64], row: int, experiment: Experiment) -> Leads:
    settings = experiment.baselines
    window_WN = returns_TN[max(row - settings.lead_window_bars, 0) : row]
    return strongest_leads(lagged_correlations(window_WN, settings.ridge_lags, settings.lead_window_bars), settings.leaders)


def _first_of_day(panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """The first row of each row's UTC day; a day runs up to and with its last midnight."""
    day_T = (panel.as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    return np.searchsorted(day_T, day_T[rows])


def _still_to_come(
    panel: Panel, rows: NDArray[np.integer], deviation_N: NDArray[np.float64], experiment: Experiment
) -> NDArray[np.float64]:
    """(R, N, K, O) correlation times the leader's returns that fall, a lag later, into an output's bars, as far as known."""
    labels = experiment.labels
    spans = [(1, 1), *((labels.execution_lag + 1, labels.execution_lag + horizon) for horizon in labels.horizons)]
    returns_TN = scaled_returns(panel, deviation_N)
    summed_TN = np.concatenate([np.zeros((1, returns_TN.shape[1])), np.cumsum(returns_TN, axis=0)])
    first_R = _first_of_day(panel, rows)
    ahead: list[NDArray[np.float64]] = []
    for first in np.unique(first_R):
        leads, row_R = _leads_before(returns_TN, int(first), experiment), np.asarray(rows)[first_R == first]
        outputs = []
        for earliest, latest in spans:
            # Bar t + s of the asset repeats bar t + s - lag of the leader, which is known where s <= lag.
            start_NK, stop_NK = earliest - leads.lag_NK, np.minimum(latest - leads.lag_NK, 0)
            start_RNK, stop_RNK = (np.maximum(row_R[:, None, None] + edge_NK, 0) for edge_NK in (start_NK, stop_NK + 1))
            ahead_RNK = summed_TN[stop_RNK, leads.source_NK] - summed_TN[np.minimum(start_RNK, stop_RNK), leads.source_NK]
            outputs.append(leads.correlation_NK * ahead_RNK)
        ahead.append(np.stack(outputs, axis=-1))
    order_R = np.argsort(np.argsort(first_R, kind="stable"), kind="stable")
    return np.concatenate(ahead)[order_R]


FAMILIES.add("local_lead_lag", Family(fit_local_leads, FittedLocalLeads.from_checkpoint, KNOBS))
