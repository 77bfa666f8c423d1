"""Which rows a fit reads and how they weigh, and what the retrain plan watches: drifted features, a rolling IC that falls behind.

Axes: T bars up to the cut-off, D days, N assets, F features, Q inner edges of equal-count bins, R realised rows.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment, LabelSettings, RetrainSettings
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.ic import mean_ic

__all__ = ["drift_edges", "history_of_fit", "realised_ic_by_family", "row_weights", "stability_index"]

_BINS = 10


def row_weights(
    rows: int, regime_D: NDArray[np.int64], regime_in_force: int, settings: RetrainSettings, *, bars_per_day: int
) -> NDArray[np.float32]:
    """(T,) weight of each training row at the end of row ``rows`` - 1.

    Half as much for each half-life of age; less for days of another regime than the one in force; 0 before
    ``history_days``. With the regime unknown all days count alike.
    """
    row_T = np.arange(rows)
    age_days_T = (rows - 1 - row_T) // bars_per_day
    weight_T = 0.5 ** (age_days_T / settings.recency_half_life_days)
    if regime_in_force >= 0:
        known_T = np.repeat(regime_D, bars_per_day)[:rows]
        regime_T = np.pad(known_T, (0, rows - len(known_T)), constant_values=-1)
        weight_T = np.where(regime_T == regime_in_force, weight_T, weight_T * settings.other_regime_weight)
    return np.where(age_days_T < settings.history_days, weight_T, 0.0).astype(np.float32)


def history_of_fit(panel: Panel, weight_T: NDArray[np.float32], experiment: Experiment) -> tuple[Panel, NDArray[np.float32]]:
    """The part of ``panel`` that a fit needs, and its rows' weights: the rows that count and the windows behind them.

    Bars before that would be scaled and multiplied by a weight of zero. The cut is on a whole block of the
    trailing volatility's sums (a week of hours).
    """
    block = panel.grid.block_bars
    behind = max(experiment.model.lookback, experiment.baselines.ridge_lags) + 2 * block
    start = max(int(np.argmax(weight_T > 0)) - behind, 0) // block * block
    if not start:
        return panel, weight_T
    return panel.cut(slice(start, None), f"{panel.content_hash}[{start}:]"), weight_T[start:]


def drift_edges(panel: Panel, weight_T: NDArray[np.float32]) -> NDArray[np.float64]:
    """(F, Q) deciles of each feature over the training rows, all assets together; NaN for a feature without values."""
    feature_TNF = np.asarray(panel.feature_TNF[: len(weight_T)])[weight_T > 0]
    edge_FQ = np.full((len(panel.features), _BINS - 1), np.nan)
    for f in range(len(panel.features)):
        value = feature_TNF[:, :, f]
        value = value[np.isfinite(value)].astype(np.float64)
        if len(value) >= 10 * _BINS:
            edge_FQ[f] = np.quantile(value, np.arange(1, _BINS) / _BINS)
    return edge_FQ


def stability_index(panel: Panel, first_row: int, edge_FQ: NDArray[np.float64]) -> float:
    """Mean over features of the population-stability index of the rows from ``first_row`` on against training.

    sum over bins of (now - then) * ln(now / then), with the training share a tenth in each bin; 0 is no drift. A feature
    whose deciles coincide (mostly one value) is left out. NaN when no feature can be compared.
    """
    index_F: list[float] = []
    for f in range(len(edge_FQ)):
        if not np.isfinite(edge_FQ[f]).all() or (np.diff(edge_FQ[f]) <= 0).any():
            continue
        value = np.asarray(panel.feature_TNF[first_row:, :, f])
        value = value[np.isfinite(value)]
        if len(value) < 10 * _BINS:
            continue
        count_Q = np.bincount(np.searchsorted(edge_FQ[f], value), minlength=_BINS)
        share_Q = (count_Q + 0.5) / (len(value) + 0.5 * _BINS)
        index_F.append(float(((share_Q - 1 / _BINS) * np.log(share_Q * _BINS)).sum()))
    return float(np.mean(index_F)) if index_F else float("nan")


def realised_ic_by_family(
    panel: Panel, first_row: int, forecast_by_family_RN: dict[str, NDArray[np.float32]], settings: LabelSettings
) -> dict[str, float]:
    """Rolling IC of each family at the shortest horizon, over the forecasts of the rows from ``first_row`` on.

    ``panel`` ends at the decision: a label that ends later does not exist here.
    """
    shortest = settings.model_copy(update={"horizons": settings.horizons[:1], "trade_horizon": settings.horizons[0]})
    outcome_RN = compute_labels(panel.cut(slice(first_row, None), ""), shortest).value_TNH[:, :, 0]
    return {family: mean_ic(forecast_RN, outcome_RN) for family, forecast_RN in forecast_by_family_RN.items()}
