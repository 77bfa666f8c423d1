"""From panel to page: regimes, models, attention, weights and the report. The order is that of line.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from crossattn_core.analysis.evidence_writer import EvidenceWriter
from crossattn_core.analysis.snapshot import Snapshot, take_snapshot
from crossattn_core.analysis.snapshot_checks import check_snapshots
from crossattn_core.analysis.snapshot_store import (
    read_attention,
    snapshots_from_previous,
    write_snapshot,
)
from crossattn_core.compute.pool import open_pool
from crossattn_core.data_stages import data_quality
from crossattn_core.days import days_between
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import has_weights
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.line import Line
from crossattn_core.panel.opens import open_prices
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import decide_all
from crossattn_core.portfolio.target_weights import Targets, read_weights, save_weights
from crossattn_core.progress import Progress, silent
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.inputs import ReportInputs, StoredResults, report_inputs
from crossattn_core.report.page import ReportPaths, build_report
from crossattn_core.selection.champion import select_champion
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import CHAMPION, reported_strategies
from crossattn_core.selection.handover import handover_of, read_champions, save_handover
from crossattn_core.storage import sha256_of, write_parquet
from crossattn_core.training.epochs import EpochReport
from crossattn_core.tuning.ledger import Trial, trials_counted
from crossattn_core.tuning.search import Tuned, first_test_day, search
from crossattn_core.walk_forward.monitor import Outlook, outlook
from crossattn_core.walk_forward.past import Load
from crossattn_core.walk_forward.predictions import as_forecasts
from crossattn_core.walk_forward.store import read_day, read_forecasts, read_plan, read_predictions
from crossattn_core.walk_forward.walk import DayResult, EpochOfDay, walk

__all__ = [
    "Decided",
    "TakenSnapshot",
    "check_attention",
    "decide_weights",
    "find_regimes",
    "snapshot_attention",
    "snapshot_day",
    "train",
    "tune",
    "walk_forward",
    "watch",
    "write_report",
]


def find_regimes(line: Line) -> pd.DataFrame:
    """The panel -> regime windows, one row a window; see ``regimes.windows.regime_windows``."""
    made_from = line.made_from("regime_windows")
    windows = regime_windows(daily_regimes(line.panel(), line.experiment.regimes), line.experiment.regimes)
    write_parquet(line.home.walk_forward / "regime_windows.parquet", pa.Table.from_pandas(windows, preserve_index=False))
    line.record_whole("regime_windows", combined_hash(windows.to_json(date_format="iso")), made_from)
    return windows


def watch(line: Line) -> Outlook | None:
    """What the plan decides on the newest complete day of the panel; see ``walk_forward.monitor.outlook``."""
    made_from = line.made_from("monitoring")
    seen = outlook(line.home, line.experiment, line.panel(), line.staleness.stale_days("walk_forward"))
    line.record_whole("monitoring", combined_hash(repr(seen)), made_from)
    return seen


def train(line: Line, family: str, last: date, *, report: Callable[[EpochReport], None] = silent) -> FittedModel:
    """The panel -> one checkpoint that knows every row up to the end of ``last``, for interactive work.

    Raises:
        TrainingError: too few rows, or a loss that is not finite.
    """
    panel = line.panel(last)
    rows = len(panel.as_of_T)
    request = FitRequest(panel, rows - 1, np.ones(rows, np.float32), line.experiment.training.seed)
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
    with open_pool(line.experiment.compute) as pool:
        return search(line.home, line.experiment, line.panel(before - timedelta(days=1)), report=report, pool=pool)


def walk_forward(line: Line, first: date, last: date) -> Iterator[DayResult]:
    """Step the days first..last, yielding each as it is stored."""
    made_from = line.made_from("walk_forward")
    panel = line.panel(last)
    days, note = list(days_between(first, last)), ""

    def on_epoch(step: EpochOfDay) -> None:
        loss = f"{step.day} {step.family} validation loss {step.epoch.validation_loss:.4f}"
        line.report(Progress("fit", step.epoch.epoch, step.epoch.epochs, "epochs", loss))

    codes = line.codes_of("walk_forward")
    with open_pool(line.experiment.compute) as pool:
        steps = walk(line.home, line.experiment, panel, first, last, report=on_epoch, codes=codes, pool=pool)
        for done, result in enumerate(steps, start=1):
            if result.trained:
                note = f"trained {result.day}: {result.reason}"
            line.report(Progress("walk_forward", done, len(days), "days", note))
            yield result
    stored = {day: read_day(line.home, day) or {} for day in days}
    hashes = {day: combined_hash(record["plan_hash"], record["forecast_hash"]) for day, record in stored.items()}
    line.record("walk_forward", hashes, made_from)


class TakenSnapshot(NamedTuple):
    """What a caller shows of a day's snapshot: the whole of it is stored, and a range of them would not fit in memory."""

    day: date
    model_id: str
    net_N: NDArray[np.float64]
    """Net leadership."""
    entropy_H: NDArray[np.float64]


def snapshot_attention(line: Line, first: date, last: date) -> list[TakenSnapshot]:
    """Who attended to whom on each day, stored day by day; days without an attention model in force have no snapshot.

    Models that served these days and whose weights are no longer kept are fitted again first.
    """
    made_from = line.made_from("attention_snapshot")
    panel, days = line.panel(last), list(days_between(first, last))
    served = {_attention_in_force(line.home, day) for day in days} - {None, ""}
    if not all(has_weights(line.home.models / str(model_id)) for model_id in served):
        again = walk(line.home, line.experiment, panel, first, last, codes=line.codes_of("walk_forward"), refit=True)
        for done, _ in enumerate(again, start=1):
            line.report(Progress("refit", done, len(days), "days", "models whose weights are no longer kept"))
    taken: list[TakenSnapshot] = []
    hashes = dict.fromkeys(days, "")
    with open_pool(line.experiment.compute) as pool:
        evidence = EvidenceWriter(line.home.attention, line.experiment, panel, pool if len(served) > 1 else None)
        models: dict[str, FittedModel] = {}
        for done, day in enumerate(days, start=1):
            snapshot = snapshot_day(line.home, line.experiment, panel, day, models=models, evidence=evidence)
            if snapshot is not None:
                taken.append(TakenSnapshot(day, snapshot.model_id, snapshot.net_N, snapshot.entropy_H))
                hashes[day] = snapshot.content_hash
            line.report(Progress("attention_snapshot", done, len(days), "days"))
        evidence.finish()
    line.record("attention_snapshot", hashes, made_from)
    return taken


def snapshot_day(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    day: date,
    *,
    load: Load = load_model,
    models: dict[str, FittedModel] | None = None,
    evidence: EvidenceWriter | None = None,
) -> Snapshot | None:
    """Store what the attention model in force read on ``day``, on its first day with the evidence; none while none is in force.

    Args:
        models: loaded models by id, shared between the days of a backfill; filled as needed.
        evidence: takes and stores the evidence; none: here and now.

    Raises:
        HistoryError: the walk-forward has not stepped the day, or the panel holds no row of it.
    """
    model_id = _attention_in_force(home, day)
    if model_id is None:
        raise HistoryError(f"attention of {day}: the walk-forward has not stepped that day; step it first")
    if not model_id:
        return None
    models = {} if models is None else models
    if model_id not in models:
        models.clear()
        models[model_id] = load(home.models / model_id, experiment)
    model = models[model_id]
    taken = take_snapshot(model, panel, day)
    if taken is None:
        return None
    snapshot, next_bar = taken
    write_snapshot(home.attention, snapshot, next_bar)
    if _comes_into_force(home, day):
        (evidence or EvidenceWriter(home.attention, experiment, panel)).add(model, day)
    return snapshot


def _attention_in_force(home: Home, day: date) -> str | None:
    """Id of the attention model in force on ``day``, '' for none; none where the walk-forward has not stepped it."""
    record = read_day(home, day)
    return None if record is None else record["state"]["in_force"].get("attention", "")


def _comes_into_force(home: Home, day: date) -> bool:
    """Whether another attention model is in force on ``day`` than the day before."""
    model_id = _attention_in_force(home, day)
    return bool(model_id) and model_id != _attention_in_force(home, day - timedelta(days=1))


def check_attention(line: Line, first: date, last: date) -> pd.DataFrame:
    """Collapse and drift of the snapshots first..last, one row a day and check; see ``snapshot_checks.check_snapshots``."""
    snapshots = snapshots_from_previous(line.home.attention, first, last)
    checked = check_snapshots(snapshots, line.experiment.asset_ids, line.experiment.analysis)
    return checked[checked["day"] >= pd.Timestamp(first)].reset_index(drop=True)


@dataclass(frozen=True)
class Decided:
    """Target weights by strategy, the champion's among them, and what is handed over."""

    targets: dict[str, Targets]
    champions: Champions
    handover: pd.DataFrame
    """``selection.handover.HANDOVER_COLUMNS``."""


def decide_weights(line: Line) -> Decided:
    """Forecasts and baselines -> target weights of every strategy and of the champion that is followed, stored.

    Raises:
        NoForecastError: there is no forecast yet.
    """
    made_from = line.made_from("target_weights")
    panel, experiment, home = line.panel(), line.experiment, line.home
    predictions = read_predictions(home, experiment.period.start, line.last_day)
    forecasts, model_weights = as_forecasts(predictions), predictions[predictions["kind"] == "weight"]
    plan = read_plan(home)

    targets = decide_all(panel, forecasts, model_weights, experiment)
    champions, followed = select_champion(experiment, panel, targets, forecasts, plan)
    targets[CHAMPION] = followed.targets
    handover = handover_of(followed, forecasts, experiment)

    for decided in targets.values():
        save_weights(home.weights, decided)
    save_handover(home.target_weights, handover, champions, line.knobs_hash_of("target_weights"))
    line.record_whole("target_weights", combined_hash(*(decided.content_hash for decided in targets.values())), made_from)
    return Decided(targets, champions, handover)


def write_report(line: Line, as_of: date | None = None) -> tuple[ReportInputs, ReportPaths]:
    """Stored weights -> simulated trading -> the page, its numbers and its series, in ``reports/<day>``.

    Args:
        as_of: the day at whose end the page is written, from what was known then; none: the newest. Decisions, forecasts,
            plan, snapshots and champions read nothing after their own day, so leaving out the later ones is enough.

    Raises:
        BacktestError: weights are missing, do not fit the panel, or begin after ``as_of``.
    """
    day = as_of or line.last_day
    made_from = line.made_from("backtest_report") if day == line.last_day else {}
    line.report(Progress("backtest_report", 0, 2, note="analysis"))
    inputs = report_inputs(_stored_results(line, day))
    line.report(Progress("backtest_report", 1, 2, note="page"))
    paths = build_report(inputs, line.home.reports / str(day))
    line.report(Progress("backtest_report", 2, 2, note=str(paths.html)))
    if made_from:
        line.record_whole("backtest_report", sha256_of(paths.html.read_bytes()), made_from)
    return inputs, paths


def _stored_results(line: Line, day: date) -> StoredResults:
    """Everything that the report reads, once, of the days up to ``day``."""
    home, experiment, panel, first = line.home, line.experiment, line.panel(day), line.experiment.period.start
    decided = {strategy: read_weights(home.weights, strategy) for strategy in reported_strategies(experiment)}
    return StoredResults(
        experiment=experiment,
        panel=panel,
        targets={strategy: targets.until(panel.as_of_T[-1]) for strategy, targets in decided.items()},
        forecasts=read_forecasts(home, first, day),
        plan=read_plan(home, first, day),
        attention=read_attention(home.attention, day, experiment.analysis.window_days, experiment.asset_ids),
        champions=_champions_until(home, day),
        trials=trials_counted(home, experiment),
        data_quality=data_quality(line, day),
        open_TN=open_prices(line.lake, panel, experiment.analysis.window_days),
    )


def _champions_until(home: Home, last: date) -> Champions | None:
    """The champions of the days up to ``last``: a page as of a day names nobody chosen later."""
    champions = read_champions(home.target_weights)
    if champions is None:
        return None
    by_day = champions.by_day[pd.to_datetime(champions.by_day["day"]) <= pd.Timestamp(last)]
    return champions._replace(by_day=by_day) if len(by_day) else None
