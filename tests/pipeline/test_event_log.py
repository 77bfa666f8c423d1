"""The event log in batches: the state of an instance is that of Dagster's own storage, in every view that reads it."""

import os
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEventBatchMetadata

from crossattn_core.home import Home
from crossattn_pipeline.definitions import defs as code_location
from crossattn_pipeline.event_log import BatchedSqliteEventLogStorage
from crossattn_pipeline.instance import HOME_VARIABLE, adopt_instance
from tests.pipeline.event_log_graph import (
    DATED,
    DAYS,
    FRAGILE,
    SILENT,
    WHOLE,
    days_tags,
    definitions,
    instance_at,
    materialization,
    run_days,
    statuses,
)

pytestmark = pytest.mark.usefixtures("in_batches")
MADE, PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def state(instance: dg.DagsterInstance, runs: list[str]) -> dict[str, Any]:
    """What the views of an instance read, without ids and times, which differ from run to run."""
    order = {run_id: position for position, run_id in enumerate(runs)}
    storage = instance.event_log_storage
    seen: dict[str, Any] = {}
    for key in (DATED, WHOLE, FRAGILE):
        name = key.to_user_string()
        records = instance.fetch_materializations(dg.AssetRecordsFilter(key), limit=1000, ascending=True).records
        seen[name, "in order"] = [(order[record.run_id], record.partition_key) for record in records]
        assert [record.storage_id for record in records] == sorted({record.storage_id for record in records})
        seen[name, "metadata"] = [record.asset_materialization.metadata for record in records if record.asset_materialization]
        latest = storage.get_latest_storage_id_by_partition(key, MADE)
        by_id = {record.storage_id: order[record.run_id] for record in records}
        seen[name, "latest"] = {day: by_id[id_] for day, id_ in latest.items()}
        seen[name, "versions"] = sorted(storage.get_latest_tags_by_partition(key, MADE, ["dagster/data_version"]))
        (record,) = instance.get_asset_records([key])
        entry = record.asset_entry
        last = entry.last_materialization
        seen[name, "record"] = (order[str(entry.last_run_id)], last and last.get_dagster_event().partition)
        if key != WHOLE:
            seen[name, "statuses"] = statuses(instance, key)
            asked = [storage.get_latest_planned_materialization_info(key, day) for day in DAYS.get_partition_keys()]
            seen[name, "planned by"] = [info and order[info.run_id] for info in asked]
    for run_id in runs:
        logs = [entry for entry in instance.all_logs(run_id) if entry.dagster_event_type != PLANNED]
        events = [entry.get_dagster_event() for entry in logs if entry.is_dagster_event]
        seen["log", order[run_id]] = [(found.event_type_value, found.step_key, found.partition) for found in events]
        seen["steps", order[run_id]] = sorted((step.step_key, str(step.status)) for step in instance.get_run_step_stats(run_id))
        run = instance.get_run_by_id(run_id)
        seen["status", order[run_id]] = run and run.status
    for status in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE):
        changes = instance.fetch_run_status_changes(status, limit=100, ascending=True).records
        seen["changes", status] = [order[record.run_id] for record in changes]
    check = dg.AssetCheckKey(DATED, "dated_is_right")
    seen["checks"] = [
        (order[str(found.run_id)], found.status) for found in storage.get_asset_check_execution_history(check, limit=100)
    ]
    return seen


def story(instance: dg.DagsterInstance) -> list[str]:
    """Two ranges that overlap, a failure in the middle of one, and a repair of a part of it."""
    return [
        run_days(instance, "2024-01-01", "2024-01-10"),
        run_days(instance, "2024-01-08", "2024-01-20", made=5, fails=True),
        run_days(instance, "2024-01-14", "2024-01-15"),
    ]


def test_the_same_runs_leave_the_state_that_dagsters_own_storage_holds(ours: dg.DagsterInstance, tmp_path: Path) -> None:
    with instance_at(tmp_path / "stock", "stock") as stock:
        expected = state(stock, story(stock))
    found = state(ours, story(ours))
    assert found == expected
    assert found["fragile", "statuses"]["failed"] == {f"2024-01-{day:02}" for day in (13, *range(16, 21))}


def test_a_home_of_either_storage_is_opened_by_the_other(tmp_path: Path) -> None:
    with instance_at(tmp_path / "home", "stock") as stock:
        runs = [run_days(stock, "2024-01-01", "2024-01-06", made=2, fails=True)]
        before = state(stock, runs)
    with instance_at(tmp_path / "home", "batched") as batched:
        assert state(batched, runs) == before
        runs.append(run_days(batched, "2024-01-05", "2024-01-08"))
        after = state(batched, runs)
        assert after["fragile", "statuses"]["failed"] == {"2024-01-03", "2024-01-04"}
    with instance_at(tmp_path / "home", "stock") as stock:
        again = state(stock, runs)
        runs.append(run_days(stock, "2024-01-03", "2024-01-03"))
        assert statuses(stock, FRAGILE)["failed"] == {"2024-01-04"}
    # Dagster's own storage reads the days that a planned event of ours names as planned by no run.
    assert {name: seen for name, seen in again.items() if name[1] != "planned by"} == {
        name: seen for name, seen in after.items() if name[1] != "planned by"
    }


def test_days_of_a_run_are_in_progress_until_it_materializes_or_ends(ours: dg.DagsterInstance) -> None:
    job = definitions().resolve_job_def("all_of_it")
    run = ours.create_run_for_job(job, tags=days_tags("2024-01-03", "2024-01-06"), status=dg.DagsterRunStatus.STARTED)
    assert statuses(ours, DATED)["in progress"] == {f"2024-01-0{day}" for day in (3, 4, 5, 6)}
    ours.event_log_storage.store_event_batch([materialization(run.run_id, f"2024-01-0{day}") for day in (3, 4)])
    assert statuses(ours, DATED) == {
        "materialized": {"2024-01-03", "2024-01-04"},
        "failed": set(),
        "in progress": {"2024-01-05", "2024-01-06"},
    }
    ours.report_run_failed(run)
    assert statuses(ours, DATED)["failed"] == {"2024-01-05", "2024-01-06"}
    assert statuses(ours, DATED)["in progress"] == set()


def test_a_run_plans_each_asset_with_one_event_whether_it_has_partitions_or_not(ours: dg.DagsterInstance) -> None:
    run_id = run_days(ours, "2024-01-01", "2024-01-10")
    planned = [entry.get_dagster_event().asset_key for entry in ours.all_logs(run_id, of_type=PLANNED)]
    assert sorted(planned) == [DATED, FRAGILE, WHOLE]


def checked(instance: dg.DagsterInstance, first: str, last: str, *, passes: bool = True) -> list[tuple[str, str | None]]:
    """Status and day of each row of the check after ``dated`` alone was run: its days are then the run's to Dagster."""
    job = definitions().resolve_job_def("all_of_it").get_subset(asset_selection={DATED})
    key = dg.AssetCheckKey(DATED, "dated_is_right")
    if passes:
        run_id = job.execute_in_process(instance=instance, tags=days_tags(first, last), run_config=SILENT).run_id
    else:
        run = instance.create_run_for_job(job, tags=days_tags(first, last), status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run)
        run_id = run.run_id
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1000)
    return [(found.status.value, found.partition) for found in history if found.run_id == run_id]


def test_a_check_of_a_range_of_days_leaves_one_row_and_none_that_is_planned_for_good(
    ours: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert checked(ours, "2024-01-01", "2024-01-10") == [("SUCCEEDED", None)]
    assert checked(ours, "2024-01-01", "2024-01-10", passes=False) == [("PLANNED", None)]  # shown by the run's status: failed
    with instance_at(tmp_path / "stock", "stock") as stock:
        rows = checked(stock, "2024-01-01", "2024-01-10")
    assert rows[0] == ("SUCCEEDED", None)
    assert {status for status, _ in rows[1:]} == {"PLANNED"}, "Dagster has mended this: planned_events.py need not"


def test_a_wiped_asset_has_no_days_left(ours: dg.DagsterInstance) -> None:
    run_days(ours, "2024-01-01", "2024-01-05", made=1, fails=True)
    ours.wipe_assets([FRAGILE])
    assert ours.get_materialized_partitions(FRAGILE) == set()
    assert ours.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(FRAGILE) == {}


def test_a_batch_that_dagster_does_not_send_is_stored_too(ours: dg.DagsterInstance) -> None:
    said = dg.EventLogEntry(error_info=None, level=20, user_message="said", run_id="run", timestamp=1.0)
    ours.event_log_storage.store_event_batch([materialization("run", "2024-01-01"), said, materialization("run", "2024-01-02")])
    assert [entry.user_message for entry in ours.all_logs("run")] == ["", "said", ""]
    assert ours.get_materialized_partitions(DATED) == {"2024-01-01", "2024-01-02"}


def test_a_batch_that_fails_leaves_nothing_and_dagster_then_stores_its_events_once_each(
    ours: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "4")
        raise OSError("disk full")

    monkeypatch.setattr(BatchedSqliteEventLogStorage, "_store_asset_event", fails)
    for day in (1, 2, 3):
        ours.handle_new_event(
            materialization("run", f"2024-01-0{day}"), batch_metadata=DagsterEventBatchMetadata("batch", is_end=day == 3)
        )
    assert "disk full" in capfd.readouterr().err
    assert [entry.get_dagster_event().partition for entry in ours.all_logs("run")] == [f"2024-01-0{day}" for day in (1, 2, 3)]
    assert [record.storage_id for record in ours.fetch_materializations(DATED, limit=10).records] == [3, 2, 1]


def test_whoever_watches_a_run_hears_of_its_events_while_it_goes_on(ours: dg.DagsterInstance, tmp_path: Path) -> None:
    heard: list[str | None] = []
    ours.event_log_storage.store_event(materialization("run", "2024-01-01"))
    with instance_at(tmp_path / "batched", "batched") as web_server:
        told = threading.Event()

        def hear(entry: dg.EventLogEntry, _: str) -> None:
            heard.append(entry.get_dagster_event().partition)
            if len(heard) == 3:
                told.set()

        web_server.watch_event_logs("run", None, hear)
        ours.event_log_storage.store_event_batch([materialization("run", "2024-01-02"), materialization("run", "2024-01-03")])
        assert told.wait(10), heard
    assert heard == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_all_events_can_be_wiped_and_written_anew(ours: dg.DagsterInstance) -> None:
    ours.event_log_storage.store_event(materialization("run", "2024-01-01"))
    ours.event_log_storage.wipe()
    assert ours.all_logs("run") == []
    ours.event_log_storage.store_event(materialization("run", "2024-01-02"))
    assert ours.get_materialized_partitions(DATED) == {"2024-01-02"}


def test_a_home_and_the_shipped_settings_store_events_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    home = Home(tmp_path / "home")
    adopt_instance(home)
    assert int(os.environ["DAGSTER_EVENT_BATCH_SIZE"]) > 1
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    adopt_instance(home)
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "0", "who sets it decides"
    monkeypatch.delenv("DAGSTER_HOME")


def test_the_code_location_stores_events_in_batches_whoever_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    assert code_location()
    assert int(os.environ["DAGSTER_EVENT_BATCH_SIZE"]) > 1
