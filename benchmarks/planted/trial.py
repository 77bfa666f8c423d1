"""One trial of the planted suite: fit a family on a market, then measure what it found.

Axes: R held-out rows, N assets, M sources, L lags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted.markets import PlantedMarket, planted_experiment
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import AttentionWeights, FitRequest, FittedModel
from crossattn_core.families.local_lead_lag import FittedLocalLeads
from crossattn_core.families.registry import FAMILIES, fit_model
from crossattn_core.panel.labels import compute_labels, next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.stats.multiple_testing import benjamini_hochberg
from crossattn_core.walk_forward.drift import row_weights

__all__ = ["PlantedTrial", "at_next_open", "run_trial", "walk_forward_weights"]

_SHIFTS = 400
"""Circular shifts behind each p-value."""
_FALSE_DISCOVERY = 0.05
_FAIR_MULTIPLE = 1.5
"""A named leader draws at least this multiple of an equal share of its follower's attention."""


@dataclass(frozen=True)
class PlantedTrial:
    """What one family found on one market."""

    market: str
    family: str
    seed: int
    ic: float
    """Time-series IC of the next bar on held-out rows, averaged over the followers (all assets where none is planted), 0 for a
    forecast that is constant; of weights and the return over the trade horizon, for a family that gives weights."""
    edges: int
    edges_found: int
    """Edges whose leader and lag are the strongest pair of their follower; -1 for a family that points at no pair."""
    lag_error: float
    """Mean distance in hours between planted and found lag; NaN for a family that points at no pair."""
    named: int
    """Leaders that pass the gate."""
    named_falsely: int
    """Of these, pairs (leader, follower) that were not planted."""
    constant: bool = False
    """Whether the forecast never moves, on any asset tested."""


def run_trial(
    family: str,
    market: PlantedMarket,
    seed: int,
    overrides: Mapping[str, Any] | None = None,
    *,
    label: str | None = None,
    train_share: float = 0.8,
    weigh_rows: bool = False,
) -> PlantedTrial:
    """Fit on the first ``train_share`` of the bars, test on the rest.

    Args:
        overrides: experiment sections that differ from the defaults.
        label: name in the table, where it is not the family's.
        weigh_rows: weigh training rows by age and regime as the walk-forward does; off: all alike.
    """
    panel = at_next_open(market.panel) if FAMILIES.get(family).gives_weights else market.panel
    experiment = planted_experiment(panel, overrides)
    cut_off = int(len(panel.as_of_T) * train_share)
    weight_T = walk_forward_weights(panel, cut_off, experiment) if weigh_rows else np.ones(len(panel.as_of_T), dtype=np.float32)
    model = fit_model(family, FitRequest(panel, cut_off, weight_T, seed), experiment)
    row_R = np.arange(cut_off + 1, len(panel.as_of_T) - 1)
    outcome_RN = next_bar_labels(panel).value_TNH[row_R, :, 0]
    forecast_RN = model.forecast_next_bar(panel, row_R)
    weight_RN = model.weights(panel, row_R)
    if weight_RN is not None:
        # Weights are compared with the return that they were trained to earn.
        labels = experiment.labels
        forecast_RN = weight_RN
        outcome_RN = compute_labels(panel, labels).value_TNH[row_R, :, labels.horizons.index(labels.trade_horizon)]
    tested = sorted({edge.follower for edge in market.edges}) or list(range(len(panel.asset_ids)))
    ic = float(np.mean([_ic(forecast_RN[:, n], outcome_RN[:, n]) for n in tested]))
    pairs_NML = _pairs(model, experiment, market, row_R)
    edges_found, lag_errors = -1, [float("nan")]
    if pairs_NML is not None:
        strongest = [np.unravel_index(int(pairs_NML[edge.follower].argmax()), pairs_NML.shape[1:]) for edge in market.edges]
        if len({edge.follower for edge in market.edges}) < len(market.edges):
            # A follower of two leaders: the edge counts when its pair is the strongest of its own leader.
            strongest = [(edge.leader, int(pairs_NML[edge.follower, edge.leader].argmax())) for edge in market.edges]
        pairs = [(int(source), int(lag) + 1, edge) for (source, lag), edge in zip(strongest, market.edges, strict=True)]
        reads = pairs_NML.any(axis=(1, 2))
        right = [source == edge.leader and lag == edge.lag for source, lag, edge in pairs]
        edges_found = sum(found and bool(reads[edge.follower]) for found, edge in zip(right, market.edges, strict=True))
        lag_errors = [abs(lag - edge.lag) for _, lag, edge in pairs]
    named = _named(model, market, row_R, forecast_RN, outcome_RN, pairs_NML)
    planted = {(edge.leader, edge.follower) for edge in market.edges}
    return PlantedTrial(
        market.name,
        label or family,
        seed,
        ic,
        len(market.edges),
        edges_found,
        float(np.mean(lag_errors)) if lag_errors else float("nan"),
        len(named),
        len(named - planted),
        all(bool(np.ptp(forecast_RN[:, n]) == 0) for n in tested),
    )


def walk_forward_weights(panel: Panel, cut_off: int, experiment: Experiment) -> NDArray[np.float32]:
    """(cut_off + 1,) what the walk-forward would give each row of a fit at ``cut_off``: by age, and by the regime in force."""
    known = panel.until(cut_off + 1)
    regimes = daily_regimes(known, experiment.regimes)
    newest = int(regimes.regime_D[-1]) if len(regimes.regime_D) else -1
    return row_weights(cut_off + 1, regimes.regime_D, newest, experiment.retrain, bars_per_day=panel.grid.bars_per_day)


def at_next_open(panel: Panel) -> Panel:
    """The panel traded at the open of each bar, which is the close before: weights earn the very bar that forecasts are of."""
    close_before_TN = np.concatenate([panel.trade_price_TN[:1], panel.mark_price_TN[:-1]])
    # An asset's first bar has no close before.
    open_TN = np.where(np.isfinite(close_before_TN), close_before_TN, panel.trade_price_TN)
    return replace(panel, trade_price_TN=np.where(np.isfinite(panel.trade_price_TN), open_TN, np.nan))


def _pairs(
    model: FittedModel, experiment: Experiment, market: PlantedMarket, row_R: NDArray[np.int64]
) -> NDArray[np.floating] | None:
    """(N, M, L) strength of each (target, source, lag): mean attention, the size of linear coefficients, or of local leads."""
    weights: AttentionWeights | None = model.attention(market.panel, row_R[::24])
    if weights is not None:
        return weights.heads_serving("next_bar").mean(axis=1).mean(axis=0)
    assets, lags = len(market.panel.asset_ids), experiment.baselines.ridge_lags
    if isinstance(model, FittedLocalLeads):
        strength_NML = np.zeros((assets, assets, lags))
        for row in row_R[::24].tolist():
            leads = model.leads_at(market.panel, row)
            strength_NML[np.arange(assets)[:, None], leads.source_NK, leads.lag_NK - 1] += np.abs(leads.correlation_NK)
        return strength_NML
    coefficient_ENO = getattr(model, "weight_ENO", None)
    if coefficient_ENO is None:
        return None
    size_NML = np.abs(coefficient_ENO[:, :, 0]).reshape(lags, assets, assets).transpose(2, 1, 0).copy()
    size_NML[np.arange(assets), np.arange(assets)] = 0.0
    return size_NML


def _named(
    model: FittedModel,
    market: PlantedMarket,
    row_R: NDArray[np.int64],
    forecast_RN: NDArray[np.float32],
    outcome_RN: NDArray[np.float32],
    pairs_NML: NDArray[np.floating] | None,
) -> set[tuple[int, int]]:
    """(leader, follower) pairs that pass the gate: the others' part of the forecast beats its own circular shifts out of
    sample, under false-discovery control over followers, and the leader draws more than its share of attention."""
    if pairs_NML is None:
        return set()
    alone_RN = model.forecast_without_others(market.panel, row_R)
    # Weights have no forecast without the others to be taken off.
    part_RN = forecast_RN - alone_RN if alone_RN is not None and np.isfinite(alone_RN).any() else forecast_RN
    assets = part_RN.shape[1]
    rng = np.random.default_rng(0)
    shift_K = rng.integers(48, len(row_R) - 48, size=_SHIFTS)
    p_N = np.ones(assets)
    for n in range(assets):
        found = _correlation(part_RN[:, n], outcome_RN[:, n])
        by_chance_K = np.array([_correlation(np.roll(part_RN[:, n], k), outcome_RN[:, n]) for k in shift_K])
        p_N[n] = (1 + np.sum(by_chance_K >= found)) / (1 + _SHIFTS) if np.isfinite(found) else 1.0
    share_NM = pairs_NML.sum(axis=-1) / np.maximum(pairs_NML.sum(axis=(-2, -1)), 1e-12)[:, None]
    named = set()
    for n in np.flatnonzero(benjamini_hochberg(p_N) <= _FALSE_DISCOVERY):
        leader = int(share_NM[n].argmax())
        if share_NM[n, leader] >= _FAIR_MULTIPLE / max(assets - 1, 1):
            named.add((leader, int(n)))
    return named


def _ic(forecast_R: NDArray[np.floating], outcome_R: NDArray[np.floating]) -> float:
    """A forecast that never moves says nothing: its IC is 0."""
    return 0.0 if np.ptp(forecast_R) == 0 else _correlation(forecast_R, outcome_R)


def _correlation(a_R: NDArray[np.floating], b_R: NDArray[np.floating]) -> float:
    seen_R = np.isfinite(a_R) & np.isfinite(b_R)
    if seen_R.sum() < 3 or a_R[seen_R].std() == 0 or b_R[seen_R].std() == 0:
        return float("nan")
    return float(np.corrcoef(a_R[seen_R], b_R[seen_R])[0, 1])
