"""Runs of the graph over a small market: one run a range, only what is stale, failures that lose nothing."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.analysis.snapshot_checks import CHECKS
from crossattn_core.errors import CrossattnError
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.walk_forward.monitor import outlook
from crossattn_core.walk_forward.overrides import read_overrides
from crossattn_core.walk_forward.store import read_plan
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.launch import materialize, materialize_stale
from tests.small import past, small_experiment, write_market


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch) -> Line:
    """A small line, materialized from candles to report through Dagster."""
    market, home = tmp_path_factory.mktemp("market"), tmp_path_factory.mktemp("home")
    write_market(market)
    module_patch.delenv("DAGSTER_HOME", raising=False)
    experiment = small_experiment(market)
    ready = Line(experiment, open_home(home, experiment), clock=past)
    shown: list[str] = []
    assert materialize_stale(ready, experiment.period.start, ready.last_day, shown.append)
    assert [text.split(":")[0] for text in shown if ":" in text] == ["data", "models"]
    return ready


def records(asset: str) -> list[dg.EventLogRecord]:
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey(asset.split("/"))
        return list(instance.fetch_materializations(dg.AssetRecordsFilter(key), limit=1000).records)


def test_a_range_is_one_run_with_a_record_for_each_day(line: Line) -> None:
    for asset in ("candles/bybit", "aligned/bars", "feature_windows", "forecasts", "attention_snapshot"):
        found = records(asset)
        assert {record.partition_key for record in found} == {day.isoformat() for day in line.staleness.days}, asset
        assert len({record.run_id for record in found}) == 1, asset


def test_candles_show_rows_gaps_and_requests_of_each_day(line: Line) -> None:
    materialization = records("candles/bybit")[0].asset_materialization
    assert materialization is not None
    assert materialization.metadata["dagster/partition_row_count"].value == 72
    assert {"expected_rows", "gaps", "first", "last", "requests", "retries", "quarantined"} <= set(materialization.metadata)


def test_each_retrain_shows_why_in_which_window_on_which_data_and_for_how_long_it_was_fitted(line: Line) -> None:
    plan = read_plan(line.home)
    trained = plan[plan["action"] == "retrain"].drop_duplicates("day").set_index("day")
    assert trained["reason"].iloc[0] == "first"
    by_day = {record.partition_key: record.asset_materialization for record in records("rolling_model")}
    for day, row in trained.iterrows():
        materialization = by_day[f"{day:%Y-%m-%d}"]
        assert materialization is not None
        metadata = {name: value.value for name, value in materialization.metadata.items()}
        assert (metadata["reason"], metadata["regime_window"]) == (row["reason"], row["window_id"])
        assert metadata["epochs/attention"] == 1
        manifest = json.loads((line.home.models / str(metadata["model/attention"]) / "manifest.json").read_text(encoding="utf-8"))
        assert metadata["data_hash/attention"] == manifest["panel_hash"] == metadata["data_hash/ridge_var"]


def test_pictures_stay_small_and_the_report_is_linked(line: Line) -> None:
    materialization = records("backtest_report")[0].asset_materialization
    assert materialization is not None
    metadata = materialization.metadata
    assert Path(str(metadata["path"].value)).is_file()
    for name in ("equity", "drawdown", "attention"):
        assert "data:image/png;base64," in str(metadata[name].value)


def test_the_newest_snapshot_carries_its_pictures_and_verdict(line: Line) -> None:
    newest = next(record for record in records("attention_snapshot") if record.partition_key == line.last_day.isoformat())
    materialization = newest.asset_materialization
    assert materialization is not None
    pictures = ("attention", "attention_through_time", "predictive_leads", "lag_profiles", "three_views", "correlation_by_regime")
    for name in pictures:
        assert len(str(materialization.metadata[name].value)) < 80_100, name  # 60 KB in base 64
    assert "leads" in materialization.metadata
    assert "gradient" in str(materialization.metadata["agreement_of_views"].value)


def test_attention_is_checked_for_sums_collapse_and_drift(line: Line) -> None:
    with dg.DagsterInstance.get() as instance:
        stored = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey("attention_snapshot"), check) for check in CHECKS]
        )
    assert {key.name for key in stored} == set(CHECKS)
    for key, record in stored.items():
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        expected = dg.AssetCheckSeverity.ERROR if key.name == "adds_up" else dg.AssetCheckSeverity.WARN
        assert evaluation.severity == expected, key.name
        assert evaluation.metadata["days"].value == 14, key.name  # the first model serves from the fifteenth of 28 days
    assert stored[
        dg.AssetCheckKey(dg.AssetKey("attention_snapshot"), "adds_up")
    ].event.dagster_event.asset_check_evaluation_data.passed


def test_every_check_of_a_run_says_what_came_out_and_none_is_planned_for_good(line: Line) -> None:
    graph = build_defs(line.experiment, line.home.root).resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        for key in graph.asset_check_keys:
            history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1000)
            assert {record.status.value for record in history} <= {"SUCCEEDED", "FAILED"}, key


def metadata_of(asset: str) -> dict[str, object]:
    """Of the newest day's newest materialization, or of the newest one of an asset without days."""
    newest = max(records(asset), key=lambda record: (record.partition_key or "", record.storage_id))
    assert newest.asset_materialization is not None
    return {name: value.value for name, value in newest.asset_materialization.metadata.items()}


def test_a_materialization_says_why_it_was_made(line: Line) -> None:
    days = f"28 days ({line.experiment.period.start} .. {line.last_day})"
    for asset in ("feature_windows", "attention_snapshot"):
        assert metadata_of(asset)["made_because"] == f"{asset}: {days}, never made"
    assert metadata_of("retrain_plan")["made_because"] == f"walk_forward: {days}, never made"
    for asset in ("regime_windows", "monitoring", "target_weights", "backtest_report"):
        assert metadata_of(asset)["made_because"] == f"{asset}: never made"


def test_a_materialization_of_what_is_up_to_date_says_that_it_was_requested(line: Line) -> None:
    materialize(line, "models", ["regime_windows"], [line.last_day])
    assert metadata_of("regime_windows")["made_because"] == "requested; nothing had changed"


def test_run_again_recomputes_nothing(line: Line) -> None:
    assert line.staleness.stale_stages(line.experiment.period.start, line.last_day) == []
    assert not materialize_stale(line, line.experiment.period.start, line.last_day, lambda text: None)


def test_one_day_again_leaves_the_others_alone(line: Line) -> None:
    before = {record.storage_id for record in records("aligned/bars")}
    materialize(line, "data", ["aligned/bars"], [date(2025, 3, 10)])
    fresh = [record for record in records("aligned/bars") if record.storage_id not in before]
    assert [record.partition_key for record in fresh] == ["2025-03-10"]
    assert line.staleness.stale_stages(line.experiment.period.start, line.last_day) == []


def test_a_failed_stage_names_its_cause_and_keeps_what_was_there(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    held = line.panel().content_hash
    monkeypatch.setattr("crossattn_core.data_stages.export_days", _refuse)
    with pytest.raises(CrossattnError, match="the disk said no"):
        materialize(line, "data", ["feature_windows"], [date(2025, 3, 10)])
    assert line.panel().content_hash == held


def _refuse(*_: object) -> None:
    raise CrossattnError("the disk said no")


def test_monitoring_shows_sensors_what_the_plan_decides_and_nothing_is_due_after_the_walk(line: Line) -> None:
    materialization = records("monitoring")[0].asset_materialization
    assert materialization is not None
    metadata = {name: value.value for name, value in materialization.metadata.items()}
    assert (metadata["day"], metadata["due_from"]) == (line.last_day.isoformat(), "")
    assert metadata["reason"] == read_plan(line.home)["reason"].iloc[-1]
    assert {"regime", "drift", "rolling_ic/attention", "rolling_ic/momentum"} <= set(metadata)
    assert "data:image/png;base64," in str(metadata["watched"])


def test_the_outlook_of_a_day_is_what_the_walk_then_records(line: Line, tmp_path: Path) -> None:
    shutil.copytree(line.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("dagster"))
    home = open_home(tmp_path / "home", line.experiment)
    plan, panel = read_plan(home).drop_duplicates("day"), line.panel()
    for path in (home.walk_forward / "plan").glob("*.json"):
        if path.stem >= line.last_day.isoformat():
            path.unlink()
    seen = outlook(home, line.experiment, panel, [line.last_day])
    assert seen is not None
    assert (seen.day, seen.due) == (line.last_day, (line.last_day,))
    assert (seen.decision.action, seen.decision.reason, seen.decision.why) == tuple(plan.iloc[-1][["action", "reason", "why"]])


@pytest.mark.parametrize(
    ("clock", "fresh"), [(datetime(2025, 3, 29, 0, 5, tzinfo=UTC), True), (datetime(2025, 3, 31, tzinfo=UTC), False)]
)
def test_freshness_expects_the_day_that_should_be_there(line: Line, clock: datetime, fresh: bool) -> None:
    open_ended = line.experiment.model_copy(update={"period": line.experiment.period.model_copy(update={"end": None})})
    definitions = build_defs(open_ended, line.home.root, clock=lambda: clock)
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def("freshness").execute_in_process(instance=instance)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed == fresh
    assert check.metadata["expected"].value == (clock - timedelta(days=1)).date().isoformat()
    assert check.metadata["missing_days"].value == (0 if fresh else 2)


def test_a_retrain_is_recorded_in_the_web_ui_by_one_job(line: Line) -> None:
    definitions = build_defs(line.experiment, line.home.root)
    config = {"ops": {"record_retrain": {"config": {"note": "new costs"}}}}
    with dg.DagsterInstance.get() as instance:
        assert definitions.resolve_job_def("force_retrain").execute_in_process(instance=instance, run_config=config).success
        (event,) = read_overrides(line.home)
        assert (event.kind, event.note, event.day) == ("forced", "new costs", line.last_day + timedelta(days=1))
        config = {"ops": {"record_rollback": {"config": {"note": "bad week", "family": "ridge_var"}}}}
        assert definitions.resolve_job_def("rollback").execute_in_process(instance=instance, run_config=config).success
    assert [event.kind for event in read_overrides(line.home)] == ["forced", "rollback"]
    (line.home.walk_forward / "events.json").unlink()
