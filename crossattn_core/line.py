"""The story, in the order in which candles flow: each stage is one function of (line, days).

    take_in_candles, take_in_funding    a feed's candles with dividends, and settlements -> the lake
    build_table                         the lake -> one SQL model in DuckDB
    export_windows                      DuckDB -> the panel, validated
    find_regimes                        the panel -> regime windows
    train                               the panel -> one checkpoint over a chosen range
    watch                               regime, drift, rolling IC, what the plan says to the newest day
    tune                                the panel before the first test day -> hyper-parameters
    walk_forward                        day by day: retrain or carry, then forecast the day
    snapshot_attention                  who attended to whom on each day
    decide_weights                      forecasts and baselines -> target weights, the champion's among them
    write_report                        weights -> simulated trading -> the page

Every stage is idempotent, leaves a receipt for each partition (see staleness.py) and never writes into an earlier
day. Dagster wraps these functions; tests call them without it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.analysis.attention_maps import Snapshot, read_snapshots_from_previous, snapshot_day
from crossattn_core.analysis.attention_story import AttentionStory, tell_attention
from crossattn_core.analysis.snapshot_checks import check_snapshots
from crossattn_core.candles.feed import Feed, newest_complete_day, told
from crossattn_core.candles.feed import Progress as CandleProgress
from crossattn_core.candles.intake import DayIntake, take_in_dividends, with_dividends
from crossattn_core.candles.intake import take_in_candles as intake_candles
from crossattn_core.candles.intake import take_in_funding as intake_funding
from crossattn_core.candles.ledger import Kind
from crossattn_core.candles.opening import open_feed, wall_clock
from crossattn_core.candles.revisions import revisions_beyond
from crossattn_core.candles.store import Lake
from crossattn_core.champion.choose import Champions
from crossattn_core.champion.follow import CHAMPION
from crossattn_core.champion.orders import orders_of, save_orders
from crossattn_core.champion.standing import stand
from crossattn_core.days import days_between
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.monitoring.watch import Outlook, outlook
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.portfolio.weights import Targets, read_weights, save_weights
from crossattn_core.progress import Progress, Report, silent
from crossattn_core.receipts import Receipts, combined_hash
from crossattn_core.regimes.detect import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.gather import (
    attention_summary,
    gather_inputs,
    leads_beside_truth,
    reported_strategies,
    targets_of,
)
from crossattn_core.report.inputs import AttentionSummary, ReportInputs
from crossattn_core.report.page import ReportPaths, build_report
from crossattn_core.staleness import WHOLE, Staleness
from crossattn_core.storage import sha256_of, write_json, write_parquet
from crossattn_core.training.fitted import EpochReport, FitRequest, FittedModel
from crossattn_core.training.fitted import silent as silent_epochs
from crossattn_core.training.fitting import fit_model
from crossattn_core.training.rolling_store import read_day, read_forecasts, read_plan
from crossattn_core.training.walk_forward import DayResult, EpochOfDay, walk
from crossattn_core.tuning.ledger import Trial
from crossattn_core.tuning.search import Tuned, first_test_day, search
from crossattn_core.universe import VenueName
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.project import Project
from crossattn_core.warehouse.results import reads_results, result_tables, sync_results
from crossattn_core.warehouse.run import BuildResult, build
from crossattn_core.warehouse.sources import sync_sources

__all__ = [
    "Decided",
    "Line",
    "build_table",
    "check_attention",
    "decide_weights",
    "export_windows",
    "find_regimes",
    "snapshot_attention",
    "strange_candles",
    "take_in_candles",
    "take_in_funding",
    "tell_attention_of",
    "train",
    "tune",
    "walk_forward",
    "watch",
    "write_report",
]


@dataclass
class Line:
    """One experiment in one home, and who is told of progress."""

    experiment: Experiment
    home: Home
    report: Report = silent
    clock: Callable[[], datetime] = wall_clock
    """Aware UTC; read for feeds without a clock of their own and for the newest day of an open period."""

    @cached_property
    def lake(self) -> Lake:
        """The raw candles of this experiment's feed."""
        return Lake(self.home.lake, self.experiment.feed.kind)

    @cached_property
    def project(self) -> Project:
        """The SQL models, in order."""
        return load_project()

    @cached_property
    def receipts(self) -> Receipts:
        """What each partition was made from."""
        return Receipts(self.home.receipts)

    @property
    def last_day(self) -> date:
        """The period's last day; for an open period the newest complete day by the clock."""
        if self.experiment.period.end is not None:
            return self.experiment.period.end
        lag = timedelta(seconds=max(self.experiment.feed.publication_lag_seconds.values(), default=0))
        return newest_complete_day(self.clock(), lag)

    @property
    def staleness(self) -> Staleness:
        """What each partition should have been made from, as of now."""
        return Staleness(self.experiment, self.home, self.lake, self.project, self.receipts, self.last_day)

    def feed(self) -> Feed:
        """A fresh connection to the source of candles."""
        return open_feed(self.experiment, clock=self.clock)

    def panel(self, last: date | None = None) -> Panel:
        """The exported panel, up to ``last``."""
        return open_panel(self.home, self.experiment, last=last)


def take_in_candles(line: Line, venue: VenueName, first: date, last: date) -> list[DayIntake]:
    """A feed's candles of one venue, and what dividends came with them -> the lake; one row a day.

    Errors as ``candles.intake.take_in_candles``.
    """
    stage = f"candles/{venue}"
    feed, assets, settings = line.feed(), line.experiment.assets_on(venue), line.experiment.feed
    days = intake_candles(feed, line.lake, assets, first, last, settings=settings, report=_candle_report(line, stage))
    if any(asset.pays_dividends for asset in assets):
        report = _candle_report(line, f"{stage} dividends")
        paid = take_in_dividends(feed, line.lake, assets, first, last, settings=settings, report=report)
        days = with_dividends(days, paid)
    _receive(line, stage, days)
    return days


def take_in_funding(line: Line, first: date, last: date) -> list[DayIntake]:
    """A feed's funding settlements -> the lake; one row a day."""
    stage = "candles/bybit_funding"
    days = intake_funding(
        line.feed(),
        line.lake,
        line.experiment.assets_on("bybit"),
        first,
        last,
        settings=line.experiment.feed,
        report=_candle_report(line, stage),
    )
    _receive(line, stage, days)
    return days


def strange_candles(
    line: Line, venue: VenueName, first: date, last: date, kinds: Sequence[Kind] = ("candles", "dividends")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(revisions beyond ``feed.max_revision``, what was refused) of one venue, one row each, for the days first..last."""
    lake = line.lake
    revisions = pa.concat_tables([lake.read_revisions(first, last, venue=venue, kind=kind) for kind in kinds])
    refused = pa.concat_tables([lake.read_quarantine(first, last, venue=venue, kind=kind) for kind in kinds])
    return revisions_beyond(revisions, line.experiment.feed.max_revision).to_pandas(), refused.to_pandas()


def build_table(line: Line, name: str, first: date, last: date) -> BuildResult:
    """The lake -> one SQL model, for the days first..last, tested before it is stored.

    Raises:
        WarehouseError: DuckDB refused, or (RejectedError) a test that blocks failed; what was stored before is untouched.
    """
    with connect(line.home.warehouse) as connection:
        sync_lake(line, connection, last)
        if reads_results(line.project, name):
            sync_results(connection, line.home, line.experiment, result_tables(line.project, name))
        result = build(connection, line.project, name, first, last, tested=True)
    if result.rows is not None:
        line.report(Progress(name, 1, 1, note=f"{result.rows} rows"))
    if result.content_hash_by_day:
        _record(line, name, {day: result.content_hash_by_day[day] for day in days_between(first, last)})
    return result


def sync_lake(line: Line, connection: duckdb.DuckDBPyConnection, last: date) -> None:
    """Bring the raw tables up to the lake, for every day up to ``last`` that differs from what they were loaded from."""
    stale = line.staleness.stale_days("raw", last)
    if stale:
        sync_sources(connection, line.lake, line.experiment, stale[0], stale[-1])
        _record(line, "raw", dict.fromkeys(days_between(stale[0], stale[-1]), ""))


def export_windows(line: Line, first: date, last: date) -> dict[date, str]:
    """DuckDB -> the panel's daily Parquet, validated; returns the hash of each day.

    Raises:
        ContractError: a row or an array breaks the panel's contract; nothing is written, what was exported before stays.
    """
    with connect(line.home.warehouse) as connection:
        build(connection, line.project, "features.panel_rows", first, last)
        hashes = export_days(connection, line.home, line.experiment, first, last)
    _record(line, "feature_windows", hashes)
    return hashes


def find_regimes(line: Line) -> pd.DataFrame:
    """The panel -> regime windows, one row a window; see ``regimes.windows.regime_windows``."""
    windows = regime_windows(daily_regimes(line.panel(), line.experiment.regimes), line.experiment.regimes)
    write_parquet(line.home.walk_forward / "regime_windows.parquet", pa.Table.from_pandas(windows, preserve_index=False))
    _record_whole(line, "regime_windows", combined_hash(windows.to_json(date_format="iso")))
    return windows


def watch(line: Line) -> Outlook | None:
    """What the plan says to the newest complete day of the panel; see ``monitoring.watch.outlook``."""
    seen = outlook(line.home, line.experiment, line.panel(), line.staleness.stale_days("walk_forward"))
    _record_whole(line, "monitoring", combined_hash(repr(seen)))
    return seen


def train(line: Line, family: str, last: date, *, report: Callable[[EpochReport], None] = silent_epochs) -> FittedModel:
    """The panel -> one checkpoint that knows every row up to the end of ``last``, for interactive work.

    Raises:
        TrainingError: too few rows, or a loss that is not finite.
    """
    panel = line.panel(last)
    cut_off = len(panel.as_of_T) - 1
    request = FitRequest(panel, cut_off, np.ones(len(panel.as_of_T), np.float32), line.experiment.training.seed)
    model = fit_model(family, request, line.experiment, report=report)
    model.save(line.home.models / model.model_id)
    return model


def tune(line: Line, *, report: Callable[[Trial], None] = lambda trial: None) -> Tuned:
    """Search hyper-parameters on the panel before the first test day; every trial goes into the home's ledger.

    Raises:
        HistoryError: the period ends before the first test day.
    """
    before = first_test_day(line.experiment)
    if line.last_day < before:
        raise HistoryError(
            f"the period ends on {line.last_day}, before the first test day {before}: no day is left to test what tuning finds; "
            "lower retrain.minimum_days or extend the period"
        )
    return search(line.home, line.experiment, line.panel(before - timedelta(days=1)), report=report)


def walk_forward(line: Line, first: date, last: date) -> Iterator[DayResult]:
    """Step the days first..last, yielding each as it is stored."""
    panel = line.panel(last)
    total = (last - first).days + 1
    note = ""

    def on_epoch(step: EpochOfDay) -> None:
        line.report(
            Progress(
                "fit",
                step.epoch.epoch,
                step.epoch.epochs,
                "epochs",
                f"{step.day} {step.family} validation loss {step.epoch.validation_loss:.4f}",
            )
        )

    for done, result in enumerate(walk(line.home, line.experiment, panel, first, last, report=on_epoch), start=1):
        if result.trained:
            note = f"trained {result.day}: {result.reason}"
        line.report(Progress("walk_forward", done, total, "days", note))
        yield result
    stored = {day: read_day(line.home, day) or {} for day in days_between(first, last)}
    hashes = {day: combined_hash(record["plan_hash"], record["forecast_hash"]) for day, record in stored.items()}
    _record(line, "walk_forward", hashes)


def snapshot_attention(line: Line, first: date, last: date) -> list[Snapshot]:
    """Who attended to whom on each day; days without an attention model in force have no snapshot."""
    panel = line.panel(last)
    models: dict[str, FittedModel] = {}
    taken: list[Snapshot] = []
    total = (last - first).days + 1
    for done, day in enumerate(days_between(first, last), start=1):
        snapshot = snapshot_day(line.home, line.experiment, panel, day, models=models)
        if snapshot is not None:
            taken.append(snapshot)
        line.report(Progress("attention_snapshot", done, total, "days"))
    made = {snapshot.day: combined_hash(snapshot.model_id, str(snapshot.weight_NML.tobytes())) for snapshot in taken}
    _record(line, "attention_snapshot", {day: made.get(day, "") for day in days_between(first, last)})
    return taken


def check_attention(line: Line, first: date, last: date) -> pd.DataFrame:
    """Collapse and drift of the snapshots first..last, one row a day and check; see ``snapshot_checks.check_snapshots``."""
    snapshots = read_snapshots_from_previous(line.home, first, last, ("edge", "entropy"))
    checked = check_snapshots(snapshots, line.experiment.asset_ids, line.experiment.analysis)
    return checked[checked["day"] >= pd.Timestamp(first)].reset_index(drop=True)


def tell_attention_of(line: Line, last: date) -> tuple[AttentionSummary, AttentionStory] | None:
    """What the pictures of attention tell as of ``last``; none before the first snapshot."""
    summary = attention_summary(line.home, line.experiment, last)
    panel = line.panel(last)
    windows = regime_windows(daily_regimes(panel, line.experiment.regimes), line.experiment.regimes)
    story = tell_attention(line.home, line.experiment, panel, last, windows)
    return None if summary is None or story is None else (summary, story)


@dataclass(frozen=True)
class Decided:
    """Target weights by strategy, the champion's among them, and what is handed over."""

    targets: dict[str, Targets]
    champions: Champions
    orders: pd.DataFrame
    """``champion.orders.ORDER_COLUMNS``."""


def decide_weights(line: Line) -> Decided:
    """Forecasts and baselines -> target weights of every strategy and of the champion that is followed, stored.

    Raises:
        NoForecastError: there is no forecast yet.
    """
    panel, experiment = line.panel(), line.experiment
    targets = targets_of(line.home, experiment, panel)
    forecasts = read_forecasts(line.home, experiment.period.start, line.last_day)
    champions, followed = stand(experiment, panel, targets, forecasts, read_plan(line.home))
    targets[CHAMPION] = followed.targets
    for wanted in targets.values():
        save_weights(line.home, wanted)
    orders = orders_of(followed, forecasts, experiment)
    save_orders(line.home, orders, champions, experiment)
    _record_whole(line, "target_weights", combined_hash(*(wanted.content_hash for wanted in targets.values())))
    return Decided(targets, champions, orders)


def write_report(line: Line, as_of: date | None = None) -> tuple[ReportInputs, ReportPaths]:
    """Stored weights -> simulated trading -> the page, its numbers and its series, in ``reports/<day>``.

    Args:
        as_of: the day at whose end the page is written, from what was known then; none: the newest. Decisions, forecasts,
            plan, snapshots and champions read nothing after their own day, so leaving out the later ones is enough.

    Raises:
        BacktestError: weights are missing, do not fit the panel, or begin after ``as_of``.
    """
    day = as_of or line.last_day
    panel = line.panel(day)
    stored = {strategy: read_weights(line.home, strategy) for strategy in reported_strategies(line.experiment)}
    targets = {strategy: wanted.until(panel.as_of_T[-1]) for strategy, wanted in stored.items()}
    line.report(Progress("backtest_report", 0, 2, note="analysis"))
    inputs = gather_inputs(line.home, line.experiment, panel, targets, data_quality(line, day))
    line.report(Progress("backtest_report", 1, 2, note="page"))
    paths = build_report(inputs, line.home.reports / str(day))
    leads = {"truth_known": inputs.planted is not None, "leads": leads_beside_truth(inputs)}
    write_json(paths.html.parent / "leads.json", leads)
    line.report(Progress("backtest_report", 2, 2, note=str(paths.html)))
    if day == line.last_day:
        _record_whole(line, "backtest_report", sha256_of(paths.html.read_bytes()))
    return inputs, paths


def data_quality(line: Line, last: date) -> pd.DataFrame | None:
    """One row an asset: what was expected, stored, refused and revised; none before the mart is there."""
    if "marts.data_quality" not in line.project.models:
        return None
    with connect(line.home.warehouse) as connection:
        build(connection, line.project, "marts.data_quality", line.experiment.period.start, last)
        return connection.sql("select * from marts.data_quality").df()


def _candle_report(line: Line, stage: str) -> Callable[[CandleProgress], None]:
    def tell(step: CandleProgress) -> None:
        line.report(Progress(stage, step.done, step.total, "windows", told(step)))

    return tell


def _receive(line: Line, stage: str, days: list[DayIntake]) -> None:
    _record(line, stage, {row.day: row.content_hash for row in days if row.complete})


def _record_whole(line: Line, stage: str, output: str) -> None:
    line.receipts.record(stage, [(WHOLE, line.staleness.expected(stage)[WHOLE], output)])


def _record(line: Line, stage: str, outputs: dict[date, str]) -> None:
    expected = line.staleness.expected(stage)
    made = {day.isoformat(): output for day, output in outputs.items()}
    line.receipts.record(stage, [(key, expected[key], output) for key, output in made.items() if key in expected])
