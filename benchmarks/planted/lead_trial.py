"""One trial of finding leads: a market whose edges are known, and those that each method finds.

    attention, gradient, occlusion       a view's share over 1.5 times the fair share; lag of its largest value
    correlation, granger, hayashi_yoshida    false-discovery rate over pairs at most 5%
    gate                                 the house's: returns, beside other leads, out-of-sample IC gain, attention

Views look at held-out rows of a model fitted before them; statistics look at all rows. Granger's test and occlusion give no
lag. Axes: N followers, M leaders, L lags.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.planted.markets import PlantedEdge, PlantedMarket, planted_experiment
from benchmarks.planted.realistic import COMMON
from crossattn_core.analysis.attribution import attention_view, gradient_view, occlusion_view, shares
from crossattn_core.analysis.lead_lag import first_clean_lags, lead_lag
from crossattn_core.analysis.lead_lag_tests import granger, hayashi_yoshida
from crossattn_core.analysis.lead_selection import MAX_CONDITIONAL_P, select_leads
from crossattn_core.analysis.leader_groups import leader_groups
from crossattn_core.analysis.leaders import name_leads
from crossattn_core.analysis.scaled_returns import scaled_prices, scaled_returns
from crossattn_core.analysis.snapshot import next_bar_frame, summarise
from crossattn_core.analysis.stored_edges import window_edges
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.drift import row_weights

__all__ = [
    "METHODS",
    "EdgeScore",
    "days_until_followed",
    "find_edges",
    "leads_in_returns",
    "leads_named",
    "planted_behind",
    "score_edges",
]

METHODS = ("attention", "gradient", "occlusion", "gate", "correlation", "granger", "hayashi_yoshida")

Edges = dict[tuple[int, int], float]
"""(leader, follower) -> lag in hours, NaN where the method gives none."""

_FALSE_DISCOVERY = 0.05
_FAIR_MULTIPLE = 1.5
_MAX_LAG = 24
_VIEW_ROWS = 24


@dataclass(frozen=True)
class EdgeScore:
    """Edges of one method on one market."""

    planted: int
    named: int
    found: int
    """Named edges that are planted."""
    lag_error: float
    """Mean absolute error over the edges found, hours; NaN where none is or the method gives no lag."""


def find_edges(
    market: PlantedMarket, seed: int, overrides: Mapping[str, Any] | None = None, *, train_share: float = 0.8
) -> dict[str, Edges]:
    """The edges of ``market`` that each of ``METHODS`` finds."""
    model, held_R, experiment = _trained(market, seed, overrides, train_share)
    edges = {view: _above_fair(value_NM, lag_NM) for view, value_NM, lag_NM in _views(model, market.panel, held_R)}
    edges["gate"] = _named(model, market.panel, held_R, experiment)
    tables = _tables(market.panel, 0)
    return edges | {name: _edges(table[table["q_value"] <= _FALSE_DISCOVERY], market.panel) for name, table in tables.items()}


def leads_named(
    market: PlantedMarket, seed: int, overrides: Mapping[str, Any] | None = None, *, train_share: float = 0.8
) -> Edges:
    """The edges that the whole gate names, a model's forecasts and attention included."""
    model, held_R, experiment = _trained(market, seed, overrides, train_share)
    return _named(model, market.panel, held_R, experiment)


def leads_in_returns(market: PlantedMarket) -> Edges:
    """The edges that the gate's statistical steps leave: no model, no attention."""
    panel, experiment = market.panel, planted_experiment(market.panel, market.knobs)
    settings = experiment.analysis
    tested = lead_lag(
        scaled_returns(panel),
        panel.asset_ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        groups=leader_groups(experiment.assets),
    )
    pairs = select_leads(tested, panel.asset_ids, experiment.symbols, settings.false_discovery_rate)
    return _edges(pairs[(pairs["conditional_p"] <= MAX_CONDITIONAL_P) & (pairs["beside"] == "")], panel)


def score_edges(edges: Edges, market: PlantedMarket) -> EdgeScore:
    """Compare the edges that a method names with the planted ones."""
    found = {pair: edge for pair in edges if (edge := planted_behind(pair, market)) is not None}
    errors = [abs(edges[pair] - edge.lag) for pair, edge in found.items() if np.isfinite(edges[pair])]
    return EdgeScore(len(market.edges), len(edges), len(found), float(np.mean(errors)) if errors else float("nan"))


def planted_behind(pair: tuple[int, int], market: PlantedMarket) -> PlantedEdge | None:
    """The planted edge that a named (leader, follower) rests on: the pair's own, else one between the follower and a group."""
    of_follower = [edge for edge in market.edges if edge.follower == pair[1]]
    exact = [edge for edge in of_follower if edge.leader == pair[0]]
    loose = [edge for edge in of_follower if COMMON in (edge.leader, pair[0])]
    return next(iter(exact + loose), None)


def days_until_followed(
    market: PlantedMarket,
    switch: int,
    seed: int,
    overrides: Mapping[str, Any] | None = None,
    *,
    old_leader: int = 0,
    every_days: int = 14,
) -> dict[str, float]:
    """Days from a switch of leaders until each method puts the new one before the old for most followers; inf if never.

    The model is refitted every ``every_days``, warm, as the walk-forward does: on rows weighted by age, up to its own day.
    Statistics look at the newest ``analysis.window_days``. Nothing is compared before the first refit after the switch.

    Args:
        switch: bar at which the leader changes; ``market.edges`` are those in force afterwards.
    """
    panel, experiment = market.panel, planted_experiment(market.panel, overrides)
    days = {method: float("inf") for method in METHODS if method != "gate"}
    model = None
    for cut_off in range(switch, len(panel.as_of_T), every_days * panel.grid.bars_per_day):
        known = panel.until(cut_off + 1)
        weight_T = row_weights(
            cut_off + 1, np.zeros(0, dtype=np.int64), -1, experiment.retrain, bars_per_day=panel.grid.bars_per_day
        )
        model = _fitted(FitRequest(known, cut_off, weight_T, seed, warm_from=model), experiment)
        if cut_off == switch:
            continue
        recent_R = np.arange(cut_off - 28 * panel.grid.bars_per_day, cut_off + 1)
        strength = {view: value_NM for view, value_NM, _ in _views(model, known, recent_R)}
        strength |= _strengths(known, experiment.analysis.window_days)
        for method in days:
            ahead = [strength[method][e.follower, e.leader] > strength[method][e.follower, old_leader] for e in market.edges]
            if np.isinf(days[method]) and sum(ahead) > len(ahead) / 2:
                days[method] = (cut_off - switch) / panel.grid.bars_per_day
        if all(np.isfinite(value) for value in days.values()):
            break
    return days


def _trained(
    market: PlantedMarket, seed: int, overrides: Mapping[str, Any] | None, train_share: float
) -> tuple[FittedNetwork, NDArray[np.int64], Experiment]:
    """A model of the rows up to the cut-off, the rows held out behind it, and the experiment."""
    experiment = planted_experiment(market.panel, market.knobs, overrides)
    bars = len(market.panel.as_of_T)
    cut_off = int(bars * train_share)
    model = _fitted(FitRequest(market.panel, cut_off, np.ones(bars, dtype=np.float32), seed), experiment)
    return model, np.arange(cut_off + 1, bars - 1), experiment


def _named(model: FittedNetwork, panel: Panel, held_R: NDArray[np.int64], experiment: Experiment) -> Edges:
    weights = model.attention(panel, held_R[:: max(1, len(held_R) // 48)])
    if weights is None:
        raise TypeError("family 'attention' was fitted without cross-attention; the gate needs its weights")
    snapshot = summarise(weights, panel.as_of_T[-1].astype("datetime64[D]").item(), model.model_id).to_frame()
    forecast_RN, alone_RN = model.forecast_next_bar(panel, held_R), model.forecast_without_others(panel, held_R)
    next_bar = next_bar_frame(panel, held_R, forecast_RN, alone_RN, model.model_id)
    settings = experiment.analysis
    tested = lead_lag(
        scaled_returns(panel),
        panel.asset_ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        first_lag_NN=first_clean_lags(panel),
        groups=leader_groups(experiment.assets),
    )
    edges = window_edges([snapshot], panel.asset_ids)
    found = name_leads(panel, next_bar_labels(panel), tested, edges, next_bar, experiment.assets, settings, experiment.backtest)
    return _edges(found[found["named"]], panel)


def _fitted(request: FitRequest, experiment: Experiment) -> FittedNetwork:
    model = fit_model("attention", request, experiment)
    if not isinstance(model, FittedNetwork):
        raise TypeError(f"family 'attention' fitted a {type(model).__name__}; views need the network's")
    return model


def _views(
    model: FittedNetwork, panel: Panel, row_R: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """(name, (N, M) shares, (N, M) lag of the largest value)."""
    few_R = row_R[np.linspace(0, len(row_R) - 1, _VIEW_ROWS).round().astype(int)]
    for name, value_NML in (("attention", attention_view(model, panel, few_R)), ("gradient", gradient_view(model, panel, few_R))):
        if value_NML is not None:
            yield name, shares(value_NML.sum(axis=2)), value_NML.argmax(axis=2) + 1.0
    occluded_NM = shares(occlusion_view(model, panel, few_R, seasons=(4,)))
    yield "occlusion", occluded_NM, np.full(occluded_NM.shape, np.nan)


def _above_fair(share_NM: NDArray[np.float64], lag_NM: NDArray[np.float64]) -> Edges:
    fair = 1 / max(len(share_NM) - 1, 1)
    n_P, m_P = np.nonzero(np.nan_to_num(share_NM) >= _FAIR_MULTIPLE * fair)
    return {(int(m), int(n)): float(lag_NM[n, m]) for n, m in zip(n_P, m_P, strict=True)}


def _strengths(panel: Panel, window_days: int) -> dict[str, NDArray[np.float64]]:
    """Statistic -> (N, M) size by follower and leader, over the newest days."""
    tables = _tables(panel, max(0, len(panel.as_of_T) - window_days * panel.grid.bars_per_day))
    place = {asset_id: n for n, asset_id in enumerate(panel.asset_ids)}
    strength = {}
    for name, column in (("correlation", "z"), ("granger", "f"), ("hayashi_yoshida", "correlation")):
        value_NM = np.zeros((len(place), len(place)))
        table = tables[name]
        value_NM[table["follower"].map(place), table["leader"].map(place)] = table[column].abs()
        strength[name] = value_NM
    return strength


def _tables(panel: Panel, start: int) -> dict[str, pd.DataFrame]:
    return_TN, ids = scaled_returns(panel)[start:], panel.asset_ids
    return {
        "correlation": lead_lag(return_TN, ids, max_lag=_MAX_LAG, permutations=200).pairs,
        "granger": granger(return_TN, ids, lags=_MAX_LAG),
        "hayashi_yoshida": hayashi_yoshida(scaled_prices(panel)[start:], ids, max_lag=_MAX_LAG),
    }


def _edges(table: pd.DataFrame, panel: Panel) -> Edges:
    place = {asset_id: n for n, asset_id in enumerate(panel.asset_ids)}
    rows = table.to_dict("records")
    return {(place.get(row["leader"], COMMON), place[row["follower"]]): float(row.get("lag", float("nan"))) for row in rows}
