"""Gathering what the page shows from what the stages stored: simulated trading, forecasts, plan, regimes, attention."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from crossattn_core import __version__
from crossattn_core.analysis.attention_overview import attention_overview
from crossattn_core.analysis.forecast_quality import forecast_arrays, forecast_quality
from crossattn_core.analysis.forecast_tests import DECAY_HOURS, forecast_tests
from crossattn_core.analysis.leaders import find_leads
from crossattn_core.analysis.snapshot_store import edge_matrices, read_attention, read_snapshots
from crossattn_core.backtest.market import Market, market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.errors import NoForecastError
from crossattn_core.experiment import FAMILIES, Experiment
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decide import Targets, decision_rows, forecast_array, needs_forecast, target_weights
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.detectors.registry import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.inputs import AttentionSummary, ReportInputs
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.selection.handover import champion_note, read_champions
from crossattn_core.tuning.ledger import trials_counted
from crossattn_core.walk_forward.store import read_forecasts, read_plan
from crossattn_core.walk_forward.wanted_store import read_wanted, wanted_array

__all__ = [
    "attention_summary",
    "gather_inputs",
    "leads_beside_truth",
    "reported_strategies",
    "simulate_all",
    "strategies_of",
    "targets_of",
]


def strategies_of(experiment: Experiment) -> tuple[str, ...]:
    """The trained families, the baselines and what the champion falls back to, each once, families first.

    A family that nobody trains has nothing to trade on and is left out.
    """
    trained = experiment.retrain.families
    baselines = (name for name in experiment.baselines.strategies if name in trained or name not in FAMILIES)
    return tuple(dict.fromkeys((*trained, *baselines, experiment.selection.fallback)))


def reported_strategies(experiment: Experiment) -> tuple[str, ...]:
    """Every strategy that is traded on paper and reported: those that decide, and the followed one."""
    return (*strategies_of(experiment), CHAMPION)


def targets_of(home: Home, experiment: Experiment, panel: Panel) -> dict[str, Targets]:
    """Target weights of every strategy, from the first day with forecasts on; all decide at the same rows.

    Raises:
        NoForecastError: there is no forecast yet.
    """
    first, last = _days(panel)
    forecasts, wanted = read_forecasts(home, first, last), read_wanted(home, first, last)
    answered = [told["as_of"].min() for told in (forecasts, wanted) if len(told)]
    if not answered:
        raise NoForecastError(
            f"no forecasts between {first} and {last}: the first model needs {experiment.retrain.minimum_days} days of history; "
            "walk forward over a longer range, or lower retrain.minimum_days"
        )
    rows_D = decision_rows(panel.as_of_T, experiment.portfolio, first=min(answered).to_datetime64())
    targets: dict[str, Targets] = {}
    for strategy in strategies_of(experiment):
        forecast_TN = weight_TN = None
        if needs_forecast(strategy):
            weight_TN = wanted_array(wanted, panel, strategy)
            forecast_TN = forecast_array(forecasts, panel, strategy, experiment.labels.trade_horizon)
        targets[strategy] = target_weights(strategy, panel, forecast_TN, rows_D, experiment, past_weight_TN=weight_TN)
    return targets


def simulate_all(market: Market, targets: Mapping[str, Targets], experiment: Experiment) -> dict[str, Simulation]:
    """Trade every strategy on the same market."""
    return {
        strategy: simulate(market, wanted, execution_lag=experiment.labels.execution_lag, capital=experiment.backtest.capital)
        for strategy, wanted in targets.items()
    }


def gather_inputs(
    home: Home, experiment: Experiment, panel: Panel, targets: Mapping[str, Targets], data_quality: pd.DataFrame | None
) -> ReportInputs:
    """Everything on the page, as of the panel's newest row."""
    first, last = _days(panel)
    stored = read_attention(home.attention, last, experiment.analysis.window_days)
    leads = find_leads(panel, stored, experiment.symbols, experiment.analysis, experiment.backtest)
    names = dict(zip(experiment.asset_ids, experiment.symbols, strict=True))
    leaders = leads.table.assign(leader=leads.table["leader"].map(names), follower=leads.table["follower"].map(names))
    windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
    feed = experiment.feed
    champions = _known_then(read_champions(home), last)
    horizons = experiment.labels.horizons
    arrays = forecast_arrays(read_forecasts(home, first, last), panel.as_of_T, panel.asset_ids, horizons)
    labels = compute_labels(panel, experiment.labels)
    tests, decay = forecast_tests(
        arrays,
        labels,
        compute_labels(panel, experiment.labels.model_copy(update={"horizons": DECAY_HOURS})),
        horizons,
        trade_horizon=experiment.labels.trade_horizon,
        confidence=experiment.backtest.confidence,
    )
    weights_hash = combined_hash(*(wanted.content_hash for wanted in targets.values()))
    return ReportInputs(
        experiment=experiment,
        simulations=simulate_all(market_of(panel, experiment), targets, experiment),
        beliefs={strategy: wanted.belief_D for strategy, wanted in targets.items() if len(wanted.belief_D)},
        subject=CHAMPION if CHAMPION in targets else experiment.retrain.families[0],
        benchmark=experiment.selection.fallback,
        forecast_quality=forecast_quality(arrays, labels, panel.asset_ids, horizons, experiment.backtest),
        accuracy_tests=tests,
        decay=decay,
        trials=trials_counted(home, experiment),
        plan=read_plan(home, first, last),
        regime_windows=windows,
        attention=attention_summary(home, experiment, last),
        story=attention_overview(stored, leads, panel, windows, experiment.assets, attention_lags=experiment.model.max_lag),
        leaders=leaders,
        planted=feed.simulated.leads if feed.kind == "simulated" else None,
        data_quality=data_quality,
        hashes={
            "experiment": experiment.content_hash(),
            "panel": panel.content_hash,
            "weights": weights_hash,
            "version": __version__,
        },
        notes=() if champions is None else (champion_note(champions),),
    )


def leads_beside_truth(inputs: ReportInputs) -> list[dict[str, object]]:
    """One entry a named or planted pair: leader, follower, lag found, lag planted (none where unknown), named, why."""
    planted = {(lead.leader, lead.follower): lead.lag for lead in inputs.planted or ()}
    leaders = (
        inputs.leaders if inputs.leaders is not None else pd.DataFrame(columns=["leader", "follower", "lag", "named", "why"])
    )
    found: dict[tuple[str, str], dict[Any, Any]] = {
        (str(row["leader"]), str(row["follower"])): row for row in leaders.to_dict("records")
    }
    pairs = [pair for pair, row in found.items() if row["named"]]
    pairs += [pair for pair in planted if pair in found and not found[pair]["named"]]
    return [
        {
            "leader": pair[0],
            "follower": pair[1],
            "lag_hours": int(found[pair]["lag"]) if found[pair]["named"] else None,
            "planted_lag_hours": planted.get(pair),
            "named": bool(found[pair]["named"]),
            "why": str(found[pair]["why"]),
        }
        for pair in pairs
    ]


def attention_summary(home: Home, experiment: Experiment, last: date) -> AttentionSummary | None:
    """Mean attention over the snapshots of the newest ``analysis.window_days`` days; none without snapshots."""
    first = last - timedelta(days=experiment.analysis.window_days - 1)
    snapshots = read_snapshots(home.attention, first, last, ("edge", "source_lag"))
    if snapshots.empty:
        return None
    _, edge_DNM = edge_matrices(snapshots, experiment.asset_ids)
    by_lag = snapshots[snapshots["quantity"] == "source_lag"]
    by_lag = by_lag.pivot_table(index="source", columns="lag", values="value", aggfunc="mean")
    by_lag = by_lag.reindex(list(experiment.asset_ids)).fillna(0.0)
    weight_NM = edge_DNM.mean(axis=0)
    total_N = weight_NM.sum(axis=1, keepdims=True)
    return AttentionSummary(
        symbols=experiment.symbols,
        weight_NM=np.divide(weight_NM, total_N, out=np.zeros_like(weight_NM), where=total_N > 0),
        lags=tuple(int(lag) for lag in by_lag.columns),
        weight_ML=by_lag.to_numpy(np.float64),
    )


def _known_then(champions: Champions | None, last: date) -> Champions | None:
    """The champions of the days up to ``last``: a page as of a day names nobody chosen later."""
    if champions is None:
        return None
    by_day = champions.by_day[pd.to_datetime(champions.by_day["day"]) <= pd.Timestamp(last)]
    return champions._replace(by_day=by_day) if len(by_day) else None


def _days(panel: Panel) -> tuple[date, date]:
    hour = np.timedelta64(1, "h")
    return panel.as_of_T[0].astype("datetime64[D]").item(), (panel.as_of_T[-1] - hour).astype("datetime64[D]").item()
