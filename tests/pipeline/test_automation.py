"""Schedule and sensors: which runs they request, why they skip, and that one cause fires once."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import dagster as dg
import pytest

from crossattn_core.experiment import load_experiment
from crossattn_core.universe import VENUES
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.monitoring_sensors import drift_or_degradation, new_complete_day, regime_change
from crossattn_pipeline.partitions import RANGE_END, RANGE_START, range_tags
from crossattn_pipeline.schedules import TRIGGER, daily_data
from crossattn_pipeline.sensors import failure_alert, missing_days, missing_forecasts

LIVE = load_experiment(overrides={"period": {"start": "2025-03-01", "end": None}})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A schedule reads only an instance that another process could open."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as stored:
        yield stored


def add_days(instance: dg.DagsterInstance, asset: str, *days: str) -> None:
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def tick_twice(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> dg.SensorResult:
    return tick(sensor, instance, tick(sensor, instance).cursor)


def test_the_schedule_requests_the_day_that_just_closed(durable: dg.DagsterInstance) -> None:
    context = dg.build_schedule_context(instance=durable, scheduled_execution_time=datetime(2025, 3, 5, 0, 10, tzinfo=UTC))
    (request,) = daily_data(LIVE).evaluate_tick(context).run_requests or []
    assert request.tags[RANGE_START] == request.tags[RANGE_END] == "2025-03-04"
    assert request.tags[TRIGGER] == "schedule"
    assert request.run_key == "data 2025-03-04"


def test_a_day_is_requested_once_the_slowest_venue_has_published_it(
    durable: dg.DagsterInstance, instance: dg.DagsterInstance
) -> None:
    slow = replace(VENUES.get("bybit"), publication_lag_seconds=1800)
    with VENUES.temporarily("slow", slow):
        assets = [{"venue": "slow", "symbol": symbol} for symbol in ("BTCUSDT", "ETHUSDT")]
        experiment = load_experiment(overrides={"period": {"start": "2025-03-01", "end": None}, "assets": assets})
        at = datetime(2025, 3, 5, 0, 10, tzinfo=UTC)
        context = dg.build_schedule_context(instance=durable, scheduled_execution_time=at)
        (request,) = daily_data(experiment).evaluate_tick(context).run_requests or []
        looked = tick(missing_days(experiment, clock=lambda: at), instance)
    assert request.tags[RANGE_END] == json.loads(looked.cursor or "")["checked_until"] == "2025-03-03"


def test_a_schedule_that_ticks_again_does_not_request_the_same_day_again(durable: dg.DagsterInstance) -> None:
    schedule = daily_data(LIVE, cron="* * * * *")
    launched = []
    for minute in (10, 11, 12):
        now = datetime(2025, 3, 5, 0, minute, tzinfo=UTC)
        ticked = schedule.evaluate_tick(dg.build_schedule_context(instance=durable, scheduled_execution_time=now))
        for request in ticked.run_requests or []:
            launched.append(durable.add_run(dg.DagsterRun(job_name="data", tags=dict(request.tags))).run_id)
    assert len(launched) == 1
    assert f"2025-03-04 was requested already, by run {launched[0]}" in (ticked.skip_message or "")


def test_the_schedule_skips_days_outside_the_period_and_says_so() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 2, 1, 0, 10, tzinfo=UTC))
    assert "outside the experiment's period" in (daily_data(LIVE).evaluate_tick(context).skip_message or "")


NOW = datetime(2025, 3, 5, 0, 12, tzinfo=UTC)


def monitor_day(
    instance: dg.DagsterInstance, day: str, reason: str, *, due_from: str = "", panel: str = "p1", why: str = "w"
) -> None:
    metadata = {"day": day, "due_from": due_from or day, "reason": reason, "why": why, "panel_hash": panel}
    instance.report_runless_asset_event(dg.AssetMaterialization("monitoring", metadata=metadata))


def launching(clock: datetime = NOW) -> dict[str, dg.SensorDefinition]:
    return {sensor.name: sensor for sensor in (new_complete_day(lambda: clock), regime_change(), drift_or_degradation())}


@pytest.mark.parametrize(
    ("reason", "owner"),
    [
        ("none", "new_complete_day"),
        ("first", "new_complete_day"),
        ("scheduled", "new_complete_day"),
        ("forced", "new_complete_day"),
        ("rollback", "new_complete_day"),
        ("history", "new_complete_day"),
        ("regime_change", "regime_change"),
        ("drift", "drift_or_degradation"),
        ("degraded", "drift_or_degradation"),
    ],
)
def test_each_reason_of_the_plan_is_launched_by_one_sensor_once(instance: dg.DagsterInstance, reason: str, owner: str) -> None:
    monitor_day(instance, "2025-03-04", reason)
    fired = {}
    for name, sensor in launching().items():
        first = tick(sensor, instance)
        again = tick(sensor, instance, first.cursor)
        assert not again.run_requests
        assert again.skip_message is not None
        assert (
            "no day was monitored since the last tick" in again.skip_message or f"belongs to sensor {owner}" in again.skip_message
        )
        fired[name] = first.run_requests or []
    assert {name for name, requests in fired.items() if requests} == {owner}
    tags = fired[owner][0].tags
    assert (tags[RANGE_START], tags[RANGE_END]) == ("2025-03-04", "2025-03-04")
    assert tags[TRIGGER] == (reason if owner != "new_complete_day" else owner)
    assert tags["crossattn/reason"] == reason


def test_a_new_day_brings_along_days_that_were_never_stepped(instance: dg.DagsterInstance) -> None:
    monitor_day(instance, "2025-03-04", "none", due_from="2025-03-02")
    requests = tick(launching()["new_complete_day"], instance).run_requests
    assert requests is not None
    assert (requests[0].tags[RANGE_START], requests[0].tags[RANGE_END]) == ("2025-03-02", "2025-03-04")


def test_a_day_monitored_twice_has_one_run_key_and_a_revised_panel_another(instance: dg.DagsterInstance) -> None:
    sensor, keys = launching()["new_complete_day"], []
    for panel in ("p1", "p1", "p2"):
        monitor_day(instance, "2025-03-04", "none", panel=panel)
        keys += [request.run_key for request in tick(sensor, instance).run_requests or []]
    assert keys[0] == keys[1] != keys[2]


def test_a_day_that_was_stepped_is_not_launched_again_and_the_cursor_moves_on(instance: dg.DagsterInstance) -> None:
    metadata = {"day": "2025-03-04", "due_from": "", "reason": "none", "why": "", "panel_hash": "p"}
    instance.report_runless_asset_event(dg.AssetMaterialization("monitoring", metadata=metadata))
    done = tick(launching()["new_complete_day"], instance)
    assert not done.run_requests
    assert "stepped already" in (done.skip_message or "")
    assert json.loads(done.cursor or "")["newest_day"] == "2025-03-04"


def test_a_trigger_in_its_cool_down_says_how_long(instance: dg.DagsterInstance) -> None:
    monitor_day(instance, "2025-03-04", "none", why="regime_change (regime 0 -> 2 confirmed) waits: 3 of 14 cool-down days")
    skipped = tick(launching()["regime_change"], instance)
    assert not skipped.run_requests
    assert "3 of 14 cool-down days" in (skipped.skip_message or "")


def test_a_day_whose_sensor_is_off_is_taken_over_after_a_while(instance: dg.DagsterInstance) -> None:
    monitor_day(instance, "2025-03-04", "drift")
    first = tick(launching()["new_complete_day"], instance)
    assert "belongs to sensor drift_or_degradation" in (first.skip_message or "")
    soon = tick(launching(NOW + timedelta(minutes=5))["new_complete_day"], instance, first.cursor)
    assert "taken over at 00:27" in (soon.skip_message or "")
    late = tick(launching(NOW + timedelta(minutes=16))["new_complete_day"], instance, first.cursor)
    assert late.run_requests is not None
    assert late.run_requests[0].tags["crossattn/reason"] == "drift"
    assert not tick(launching(NOW + timedelta(minutes=17))["new_complete_day"], instance, late.cursor).run_requests


def test_forecasts_that_are_missing_behind_the_newest_day_are_requested(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-02", "2025-03-03", "2025-03-04", "2025-03-06")
    add_days(instance, "forecasts", "2025-03-01", "2025-03-03")
    sensor = missing_forecasts(LIVE, clock=lambda: datetime(2025, 3, 7, 1, tzinfo=UTC))
    requests = tick_twice(sensor, instance).run_requests
    assert requests is not None
    spans = [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]
    assert spans == [("2025-03-02", "2025-03-02"), ("2025-03-04", "2025-03-04")]


def test_holes_of_the_panel_are_requested_as_ranges_of_days(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-04")
    sensor = missing_days(LIVE, clock=lambda: datetime(2025, 3, 7, 1, tzinfo=UTC))
    requests = tick_twice(sensor, instance).run_requests
    assert requests is not None
    spans = [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]
    assert spans == [("2025-03-02", "2025-03-03"), ("2025-03-05", "2025-03-06")]


def test_a_day_is_missed_only_where_it_is_still_missing_at_the_next_tick(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01")
    sensor = missing_days(LIVE, clock=lambda: datetime(2025, 3, 4, 1, tzinfo=UTC))
    first = tick(sensor, instance)
    assert not first.run_requests
    assert "2 days, under way or seen for the first time" in (first.skip_message or "")
    add_days(instance, "feature_windows", "2025-03-02")
    requests = tick(sensor, instance, first.cursor).run_requests
    assert [request.tags[RANGE_START] for request in requests or []] == ["2025-03-03"]


@pytest.mark.parametrize(("make", "job"), [(missing_days, "data"), (missing_forecasts, "models")])
def test_days_that_a_run_is_about_to_make_are_not_missed(instance: dg.DagsterInstance, make: Callable, job: str) -> None:
    if job == "models":
        add_days(instance, "feature_windows", "2025-03-01", "2025-03-02", "2025-03-03", "2025-03-04")
    sensor = make(LIVE, clock=lambda: datetime(2025, 3, 5, 1, tzinfo=UTC))
    tags = range_tags([date(2025, 3, 2), date(2025, 3, 4)])
    pending = instance.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.STARTED, tags=tags))
    requests = tick_twice(sensor, instance).run_requests
    assert [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests or []] == [("2025-03-01", "2025-03-01")]
    instance.delete_run(pending.run_id)
    assert len(tick_twice(sensor, instance).run_requests or []) == 1


def test_a_whole_panel_needs_nothing(instance: dg.DagsterInstance) -> None:
    add_days(instance, "feature_windows", "2025-03-01", "2025-03-02")
    done = tick(missing_days(LIVE, clock=lambda: datetime(2025, 3, 3, 1, tzinfo=UTC)), instance)
    assert not done.run_requests
    assert "none among 2025-03-01 .. 2025-03-02" in (done.skip_message or "")


def test_the_graph_carries_its_automation(tmp_path: Path) -> None:
    definitions = build_defs(LIVE, tmp_path)
    assert definitions.resolve_schedule_def("daily_data").job_name == "data"
    for name in (
        "new_complete_day",
        "regime_change",
        "drift_or_degradation",
        "missing_days",
        "missing_forecasts",
        "failure_alert",
    ):
        assert definitions.resolve_sensor_def(name).name == name


class _Webhook(BaseHTTPRequestHandler):
    received: ClassVar[list[dict]] = []

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def webhook() -> Iterator[str]:
    _Webhook.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alert"
    server.shutdown()
    server.server_close()


def fail(instance: dg.DagsterInstance, tags: dict[str, str], sensor: dg.SensorDefinition) -> object:
    @dg.op
    def breaks() -> None:
        raise ValueError("the venue is gone")

    @dg.job
    def models() -> None:
        breaks()

    run = models.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    failure = run.get_run_failure_event()
    context = dg.build_run_status_sensor_context(sensor.name, failure, instance, run.dagster_run).for_run_failure()
    return sensor(context)


def test_a_run_that_failed_for_good_leaves_a_record_and_calls_the_webhook(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: str
) -> None:
    fail(instance, {TRIGGER: "drift"}, failure_alert(tmp_path, webhook))
    records = [json.loads(path.read_text()) for path in (tmp_path / "alerts").glob("*.json")]
    assert records == _Webhook.received
    assert (records[0]["job"], records[0]["trigger"]) == ("models", "drift")
    assert "breaks" in records[0]["message"]


def test_a_run_that_is_launched_again_raises_no_alert(instance: dg.DagsterInstance, tmp_path: Path, webhook: str) -> None:
    fail(instance, {"dagster/will_retry": "true"}, failure_alert(tmp_path, webhook))
    assert not (tmp_path / "alerts").exists()
    assert _Webhook.received == []
