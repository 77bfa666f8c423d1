"""Gathering what the page shows from what the stages stored: simulated trading, forecasts, plan, regimes, attention."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from crossattn_core import __version__
from crossattn_core.analysis.attention_overview import tell_attention
from crossattn_core.analysis.forecast_quality import forecast_quality
from crossattn_core.analysis.forecast_tests import forecast_tests
from crossattn_core.analysis.leaders import find_leaders
from crossattn_core.analysis.snapshot_store import edge_matrices, read_snapshots
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.inputs import AttentionSummary, ReportInputs
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.selection.handover import champion_note, read_champions
from crossattn_core.tuning.ledger import trials_counted
from crossattn_core.walk_forward.store import read_plan

__all__ = ["attention_summary", "gather_inputs", "leads_beside_truth"]


def gather_inputs(
    home: Home, experiment: Experiment, panel: Panel, targets: Mapping[str, Targets], data_quality: pd.DataFrame | None
) -> ReportInputs:
    """Everything on the page, as of the panel's newest row."""
    first, last = _days(panel)
    leaders = find_leaders(home, experiment, panel, last)
    names = dict(zip(experiment.asset_ids, experiment.symbols, strict=True))
    leaders = leaders.assign(leader=leaders["leader"].map(names), follower=leaders["follower"].map(names))
    windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
    feed = experiment.feed
    champions = _known_then(read_champions(home.target_weights), last)
    tests, decay = forecast_tests(home, experiment, panel, first, last)
    weights_hash = combined_hash(*(wanted.content_hash for wanted in targets.values()))
    return ReportInputs(
        experiment=experiment,
        simulations=simulate_all(market_of(panel, experiment), targets, experiment),
        beliefs={strategy: decided.shrinkage_D for strategy, decided in targets.items() if len(decided.shrinkage_D)},
        subject=CHAMPION if CHAMPION in targets else experiment.retrain.families[0],
        benchmark=experiment.selection.fallback,
        forecast_quality=forecast_quality(home, experiment, panel, first, last),
        accuracy_tests=tests,
        decay=decay,
        trials=trials_counted(home, experiment),
        plan=read_plan(home, first, last),
        regime_windows=windows,
        attention=attention_summary(home, experiment, last),
        story=tell_attention(home, experiment, panel, last, windows, leaders=leaders),
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
    snapshots = read_snapshots(home, first, last, ("edge", "source_lag"))
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
