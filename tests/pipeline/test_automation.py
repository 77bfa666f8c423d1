"""Schedule and sensors: what they ask for, why they skip, and that one cause fires once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.experiment import load_experiment
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.partitions import RANGE_END, RANGE_START
from crossattn_pipeline.schedules import TRIGGER, daily_data
from crossattn_pipeline.sensors import missing_days, new_complete_day

LIVE = load_experiment(overrides={"period": {"start": "2025-03-01", "end": None}})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def add_days(instance: dg.DagsterInstance, asset: str, *days: str) -> None:
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def test_the_schedule_asks_for_the_day_that_just_closed() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 3, 5, 0, 10, tzinfo=UTC))
    asked = daily_data(LIVE).evaluate_tick(context).run_requests
    assert asked is not None
    assert asked[0].tags[RANGE_START] == asked[0].tags[RANGE_END] == "2025-03-04"
    assert asked[0].tags[TRIGGER] == "schedule"
    assert asked[0].run_key == "data 2025-03-04"


def test_the_schedule_skips_days_outside_the_period_and_says_so() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 2, 1, 0, 10, tzinfo=UTC))
    assert "outside the experiment's period" in (daily_data(LIVE).evaluate_tick(context).skip_message or "")


def test_a_new_day_of_the_panel_launches_the_models_once(instance: dg.DagsterInstance) -> None:
    sensor = new_complete_day(LIVE)
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-02")
    first = tick(sensor, instance)
    assert first.run_requests is not None
    assert [request.tags[RANGE_END] for request in first.run_requests] == ["2025-03-02"]
    assert first.run_requests[0].tags[RANGE_START] == "2025-03-01"
    assert json.loads(first.cursor or "")["newest_day"] == "2025-03-02"
    again = tick(sensor, instance, first.cursor)
    assert not again.run_requests
    assert "no day was added" in (again.skip_message or "")


def test_a_new_day_brings_along_days_that_were_never_stepped(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-04")
    add_days(instance, "forecasts", "2025-03-01")
    requests = tick(new_complete_day(LIVE), instance).run_requests
    assert requests is not None
    assert (requests[0].tags[RANGE_START], requests[0].tags[RANGE_END]) == ("2025-03-02", "2025-03-04")


def test_holes_of_the_panel_are_asked_for_as_runs_of_days(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-04")
    sensor = missing_days(LIVE, clock=lambda: datetime(2025, 3, 7, 1, tzinfo=UTC))
    requests = tick(sensor, instance).run_requests
    assert requests is not None
    spans = [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]
    assert spans == [("2025-03-02", "2025-03-03"), ("2025-03-05", "2025-03-06")]


def test_a_whole_panel_needs_nothing(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-02")
    done = tick(missing_days(LIVE, clock=lambda: datetime(2025, 3, 3, 1, tzinfo=UTC)), instance)
    assert not done.run_requests
    assert "holds every day" in (done.skip_message or "")


def test_the_graph_carries_its_automation(tmp_path: Path) -> None:
    definitions = build_defs(LIVE, tmp_path)
    assert definitions.resolve_schedule_def("daily_data").job_name == "data"
    for name in ("new_complete_day", "missing_days", "failure_alert"):
        assert definitions.resolve_sensor_def(name).name == name
