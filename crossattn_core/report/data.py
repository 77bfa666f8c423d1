"""From what the stages stored to what the page shows: simulated trading, tests of the forecasts, attention and leads."""

from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from crossattn_core import __version__
from crossattn_core.analysis.attention_overview import AttentionStory, tell_attention
from crossattn_core.analysis.forecast_quality import QUALITY_COLUMNS, forecast_arrays, ic_table
from crossattn_core.analysis.forecast_tests import DECAY_HOURS, accuracy_tests, decay_by_horizon
from crossattn_core.analysis.leaders import judge_leads
from crossattn_core.analysis.snapshot_store import edge_matrices
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.experiment import Experiment
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.inputs import AttentionSummary, ReportInputs, StoredAttention, StoredResults
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.selection.handover import champion_note

__all__ = ["AttentionFindings", "attention_findings", "leads_beside_truth", "report_inputs"]


class AttentionFindings(NamedTuple):
    """What attention and leads come to, as of the end of the panel's last day."""

    leaders: pd.DataFrame
    """``analysis.leaders.LEADER_COLUMNS``, symbols in place of asset ids."""
    summary: AttentionSummary | None
    """None without a snapshot in the newest ``analysis.window_days`` days."""
    overview: AttentionStory | None
    """None before the first snapshot."""


def report_inputs(stored: StoredResults) -> ReportInputs:
    """Everything on the page, as of the end of the panel's last day: simulated trading, tests of forecasts, leads."""
    experiment, panel, targets, champions = stored.experiment, stored.panel, stored.targets, stored.champions
    windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
    found = attention_findings(stored.attention, experiment, panel, windows)
    return ReportInputs(
        experiment=experiment,
        simulations=simulate_all(market_of(panel, experiment.assets, experiment.costs, experiment.backtest), targets, experiment),
        subject=CHAMPION if CHAMPION in targets else experiment.retrain.families[0],
        benchmark=experiment.selection.fallback,
        followed=None if champions is None or CHAMPION not in targets else champions.by_day,
        shrinkage={strategy: decided.shrinkage_D for strategy, decided in targets.items() if len(decided.shrinkage_D)},
        **_forecast_tests(stored),
        trials=stored.trials,
        plan=stored.plan,
        regime_windows=windows,
        attention=found.summary,
        overview=found.overview,
        leaders=found.leaders,
        planted=experiment.feed.simulated.leads if experiment.feed.kind == "simulated" else None,
        data_quality=stored.data_quality,
        hashes={
            "experiment": experiment.content_hash(),
            "panel": panel.content_hash,
            "weights": combined_hash(*(decided.content_hash for decided in targets.values())),
            "version": __version__,
        },
        notes=() if champions is None else (champion_note(champions),),
    )


def attention_findings(stored: StoredAttention, experiment: Experiment, panel: Panel, windows: pd.DataFrame) -> AttentionFindings:
    """Who leads whom and what attention looks like, from the returns of the panel and the stored snapshots.

    Args:
        windows: ``regimes.windows.regime_windows`` of the panel.
    """
    days = experiment.analysis.window_days
    first = (panel.as_of_T[-1] - np.timedelta64(1, "us")).astype("datetime64[D]") - np.timedelta64(days - 1, "D")
    newest = stored.snapshots[stored.snapshots["day"] >= pd.Timestamp(first)]
    edges = newest[newest["quantity"] == "edge"]
    next_bar = stored.next_bar[stored.next_bar["as_of"] > pd.Timestamp(first)]
    leaders = judge_leads(panel, max(panel.row_of(first) + 1, 0), edges, next_bar, experiment)
    symbols = dict(zip(experiment.asset_ids, experiment.symbols, strict=True))
    leaders = leaders.assign(leader=leaders["leader"].map(symbols), follower=leaders["follower"].map(symbols))
    overview = tell_attention(stored.snapshots, stored.evidence, stored.agreement, experiment, panel, windows, leaders)
    return AttentionFindings(leaders, _summary(newest, experiment), overview)


def leads_beside_truth(inputs: ReportInputs) -> list[dict[str, object]]:
    """One entry a named or planted pair: leader, follower, lag found, lag planted (none where unknown), named, why."""
    planted = {(lead.leader, lead.follower): lead.lag for lead in inputs.planted or ()}
    leaders = [] if inputs.leaders is None else inputs.leaders.to_dict("records")
    found: dict[tuple[str, str], dict[Any, Any]] = {(str(row["leader"]), str(row["follower"])): row for row in leaders}
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


def _forecast_tests(stored: StoredResults) -> dict[str, pd.DataFrame]:
    """Quality, accuracy and decay of the stored forecasts, named as in ``ReportInputs``, on labels that are computed once."""
    experiment, panel = stored.experiment, stored.panel
    labels, horizons = experiment.labels, experiment.labels.horizons
    forecasts = forecast_arrays(stored.forecasts, panel.as_of_T, panel.asset_ids, horizons)
    hours = tuple(sorted({*horizons, *DECAY_HOURS}))
    outcome_TNH = compute_labels(panel, labels.model_copy(update={"horizons": hours})).value_TNH
    quality, accuracy = [pd.DataFrame(columns=list(QUALITY_COLUMNS))], []
    for h, horizon in enumerate(horizons):
        by_family_TN = {family: forecast_TNH[:, :, h] for family, forecast_TNH in forecasts.items()}
        outcome_TN = outcome_TNH[:, :, hours.index(horizon)]
        if forecasts:
            quality.append(ic_table(by_family_TN, outcome_TN, panel.asset_ids, horizon, experiment.backtest))
        accuracy.append(accuracy_tests(by_family_TN, outcome_TN, horizon))
    traded = {family: forecast_TNH[:, :, horizons.index(labels.trade_horizon)] for family, forecast_TNH in forecasts.items()}
    later_TNH = outcome_TNH[:, :, [hours.index(hour) for hour in DECAY_HOURS]]
    return {
        "forecast_quality": pd.concat(quality[-len(horizons) :], ignore_index=True),
        "accuracy_tests": pd.concat(accuracy, ignore_index=True),
        "decay": decay_by_horizon(traded, later_TNH, DECAY_HOURS, experiment.backtest.confidence),
    }


def _summary(snapshots: pd.DataFrame, experiment: Experiment) -> AttentionSummary | None:
    """Mean attention over ``snapshots`` (``SNAPSHOT_COLUMNS``); none without any."""
    by_lag = snapshots[snapshots["quantity"] == "source_lag"]
    _, edge_DNM = edge_matrices(snapshots, experiment.asset_ids)
    if by_lag.empty and not len(edge_DNM):
        return None
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


def _days(panel: Panel) -> tuple[date, date]:
    hour = np.timedelta64(1, "h")
    return panel.as_of_T[0].astype("datetime64[D]").item(), (panel.as_of_T[-1] - hour).astype("datetime64[D]").item()
