"""What the report is made from: results as the stages stored them, and the page's inputs that follow from these.

Frames are read by the columns named here; further columns are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core import __version__
from crossattn_core.analysis.attention_overview import AttentionOverview, attention_overview
from crossattn_core.analysis.forecast_buckets import MIN_ASSETS, BucketReturns, baseline_scores, forecast_buckets
from crossattn_core.analysis.forecast_quality import forecast_arrays, forecast_quality
from crossattn_core.analysis.forecast_tests import DECAY_BARS, forecast_tests
from crossattn_core.analysis.leaders import Trading, find_leads, in_symbols
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.experiment import Experiment, PlantedLead
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.panel.labels import Labels, compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import decision_rows
from crossattn_core.portfolio.sizing import trade_cost
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.selection.handover import champion_note

__all__ = ["AttentionSummary", "ReportInputs", "StoredResults", "attention_summary", "leads_beside_truth", "report_inputs"]


@dataclass(frozen=True)
class StoredResults:
    """What the stages stored, loaded once: nothing in it is of a day after the panel's last."""

    experiment: Experiment
    panel: Panel
    targets: Mapping[str, Targets]
    """Strategy -> target weights, the champion's among them; all decided at the same rows."""
    forecasts: pd.DataFrame
    """``walk_forward.store.FORECAST_COLUMNS``."""
    plan: pd.DataFrame
    """``walk_forward.store.PLAN_COLUMNS``."""
    attention: StoredAttention
    champions: Champions | None
    """Who was followed by day; none before the first hand-over."""
    trials: int
    """Variants that were looked at, all counted."""
    data_quality: pd.DataFrame | None
    """One row an asset; none without the mart."""
    open_TN: NDArray[np.float64] | None = None
    """(T, N) first trade of each bar; none leaves open what a lead keeps from the next trade on."""


@dataclass(frozen=True)
class AttentionSummary:
    """Attention as it was used, averaged over the report's rows. Axes: N targets, M sources, L lags."""

    symbols: tuple[str, ...]
    """N = M symbols in panel order."""
    weight_NM: NDArray[np.floating]
    """(N, M) share of target n's attention on source m; rows sum to 1."""
    lags: tuple[int, ...]
    """L lags in bars behind the decision row."""
    weight_ML: NDArray[np.floating]
    """(M, L) share of attention on source m at each lag, averaged over targets."""
    grid: Grid = HOURLY
    """What a lag counts."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything on the page. ``simulations`` maps strategy -> simulation, all from the same first decision.

    Every other part may be missing; the page names what is.
    """

    experiment: Experiment
    simulations: Mapping[str, Simulation]
    subject: str = "attention"
    """The strategy that the verdict is about."""
    benchmark: str = "equal_weight"
    """The strategy that the subject has to beat."""
    followed: pd.DataFrame | None = None
    """day, champion: whom the subject followed (``selection.choose.CHAMPION_COLUMNS``); none where it follows nobody."""
    shrinkage: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Strategy -> (D,) share of its forecasts that was kept."""
    forecast_quality: pd.DataFrame | None = None
    """family, horizon, asset_id ('all': the average over assets), measure, value, low, high, pairs."""
    accuracy_tests: pd.DataFrame | None = None
    """horizon, first, second, statistic, p_value, rows: see ``analysis.forecast_tests.accuracy_tests``."""
    decay: pd.DataFrame | None = None
    """family, bars, ic, low, high, rows: see ``analysis.forecast_tests.decay_by_horizon``."""
    buckets: Mapping[str, BucketReturns] = field(default_factory=dict)
    """Family or baseline -> returns by bucket of its forecast, over the traded horizon; none with too few assets."""
    trials: int | None = None
    """Variants that were looked at, all counted; ``backtest.trials`` where nobody counted."""
    plan: pd.DataFrame | None = None
    """Grain (day, family): day, family, action, reason, why, regime, train_start, cut_off, rows, validation_loss, model_id."""
    regime_windows: pd.DataFrame | None = None
    """window_id, regime, name, onset, confirmed, end (exclusive), days, volatility."""
    attention: AttentionSummary | None = None
    overview: AttentionOverview | None = None
    """Attention through time, views, statistics and correlation by regime."""
    leaders: pd.DataFrame | None = None
    """leader, follower, lag, weight, correlation, q_value, worth, named, why; one row a leader (or group) and follower."""
    planted: Sequence[PlantedLead] | None = None
    """The truth of a simulated market; None where nobody knows it."""
    data_quality: pd.DataFrame | None = None
    """Any columns, one row an asset: shown as it is."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """What reproduces the page: experiment, panel, weights, code version, ..."""
    notes: Sequence[str] = ()
    """Sentences for the reader, shown under the verdict."""


def report_inputs(stored: StoredResults) -> ReportInputs:
    """Everything on the page, as of the end of the panel's last day: simulated trading, tests of forecasts, leads."""
    experiment, panel, targets, champions = stored.experiment, stored.panel, stored.targets, stored.champions
    windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
    trading = Trading(stored.open_TN, 1e4 * trade_cost(experiment.asset_ids, experiment.costs))
    leads = find_leads(panel, stored.attention, experiment.assets, experiment.analysis, experiment.backtest, trading)
    symbols = dict(zip(experiment.asset_ids, experiment.symbols, strict=True))
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
        attention=attention_summary(stored.attention, experiment),
        overview=attention_overview(
            stored.attention, leads, panel, windows, experiment.assets, attention_lags=experiment.model.max_lag
        ),
        leaders=in_symbols(leads.table, symbols),
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


def leads_beside_truth(inputs: ReportInputs) -> list[dict[str, object]]:
    """One entry a named or planted pair: leader, follower, lag found, lag planted (bars; none where unknown),
    length of a bar, named, why."""
    planted = {(lead.leader, lead.follower): lead.lag for lead in inputs.planted or ()}
    leaders = [] if inputs.leaders is None else inputs.leaders.to_dict("records")
    found: dict[tuple[str, str], dict[Any, Any]] = {(str(row["leader"]), str(row["follower"])): row for row in leaders}
    pairs = [pair for pair, row in found.items() if row["named"]]
    pairs += [pair for pair in planted if pair in found and not found[pair]["named"]]
    return [
        {
            "leader": pair[0],
            "follower": pair[1],
            "lag_bars": int(found[pair]["lag"]) if found[pair]["named"] else None,
            "planted_lag_bars": planted.get(pair),
            "bar": inputs.experiment.grid.bar,
            "named": bool(found[pair]["named"]),
            "why": str(found[pair]["why"]),
        }
        for pair in pairs
    ]


def attention_summary(stored: StoredAttention, experiment: Experiment) -> AttentionSummary | None:
    """Mean attention over the newest ``analysis.window_days`` days; none without a snapshot among them."""
    if stored.by_lag.empty and not stored.edges.days:
        return None
    by_lag = stored.by_lag.reindex(list(experiment.asset_ids)).fillna(0.0)
    weight_NM = stored.edges.mean_NM
    total_N = weight_NM.sum(axis=1, keepdims=True)
    return AttentionSummary(
        symbols=experiment.symbols,
        weight_NM=np.divide(weight_NM, total_N, out=np.zeros_like(weight_NM), where=total_N > 0),
        lags=tuple(int(lag) for lag in by_lag.columns),
        weight_ML=by_lag.to_numpy(np.float64),
        grid=experiment.grid,
    )


def _forecast_tests(stored: StoredResults) -> dict[str, Any]:
    """Quality, accuracy, decay and buckets of the stored forecasts, named as in ``ReportInputs``, on the same labels."""
    experiment, panel, settings = stored.experiment, stored.panel, stored.experiment.labels
    horizons = settings.horizons
    arrays = forecast_arrays(stored.forecasts, panel.as_of_T, panel.asset_ids, horizons)
    labels = compute_labels(panel, settings)
    accuracy, decay = forecast_tests(
        arrays,
        labels,
        compute_labels(panel, settings.model_copy(update={"horizons": DECAY_BARS})),
        horizons,
        trade_horizon=settings.trade_horizon,
        confidence=experiment.backtest.confidence,
    )
    quality = forecast_quality(arrays, labels, panel.asset_ids, horizons, experiment.backtest, block_bars=panel.grid.block_bars)
    traded = horizons.index(settings.trade_horizon)
    buckets = _buckets(stored, {family: array_TNH[:, :, traded] for family, array_TNH in arrays.items()}, labels, traded)
    return {"forecast_quality": quality, "accuracy_tests": accuracy, "decay": decay, "buckets": buckets}


def _buckets(
    stored: StoredResults, forecast_by_family_TN: Mapping[str, NDArray[np.floating]], labels: Labels, traded: int
) -> dict[str, BucketReturns]:
    """The families' forecasts of the traded horizon, and the baselines, by bucket at the rows of decisions."""
    experiment, panel = stored.experiment, stored.panel
    if len(experiment.assets) < MIN_ASSETS or not forecast_by_family_TN:
        return {}
    horizon, hours = experiment.labels.trade_horizon, experiment.baselines.momentum_hours
    first = stored.forecasts["as_of"].min().to_datetime64()
    return forecast_buckets(
        {**forecast_by_family_TN, **baseline_scores(panel, momentum_bars=panel.grid.bars(hours), reversal_bars=horizon)},
        labels.value_TNH[:, :, traded],
        panel.as_of_T,
        decision_rows(panel.as_of_T, experiment.portfolio, first=first),
        trade_cost(panel.asset_ids, experiment.costs),
        horizon=horizon,
    )
