"""Runs of the graph over a small market: one run a range, only what is stale, failures that lose nothing."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.analysis.snapshot_checks import CHECKS
from crossattn_core.errors import CrossattnError
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.launch import find_stale, materialize, materialize_stale
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
    said: list[str] = []
    assert materialize_stale(ready, experiment.period.start, ready.last_day, said.append)
    assert [text.split(":")[0] for text in said if ":" in text] == ["data", "models"]
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


def test_candles_tell_rows_gaps_and_requests_of_each_day(line: Line) -> None:
    materialization = records("candles/bybit")[0].asset_materialization
    assert materialization is not None
    assert materialization.metadata["dagster/partition_row_count"].value == 72
    assert {"expected_rows", "gaps", "first", "last", "requests", "retries", "quarantined"} <= set(materialization.metadata)


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


def test_run_again_recomputes_nothing(line: Line) -> None:
    assert find_stale(line, line.experiment.period.start, line.last_day) == []
    assert not materialize_stale(line, line.experiment.period.start, line.last_day, lambda text: None)


def test_one_day_again_leaves_the_others_alone(line: Line) -> None:
    before = {record.storage_id for record in records("aligned/bars")}
    materialize(line, "data", ["aligned/bars"], [date(2025, 3, 10)])
    fresh = [record for record in records("aligned/bars") if record.storage_id not in before]
    assert [record.partition_key for record in fresh] == ["2025-03-10"]
    assert find_stale(line, line.experiment.period.start, line.last_day) == []


def test_a_failed_stage_names_its_cause_and_keeps_what_was_there(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    held = line.panel().content_hash
    monkeypatch.setattr("crossattn_core.line.export_days", _refuse)
    with pytest.raises(CrossattnError, match="the disk said no"):
        materialize(line, "data", ["feature_windows"], [date(2025, 3, 10)])
    assert line.panel().content_hash == held


def _refuse(*_: object) -> None:
    raise CrossattnError("the disk said no")
