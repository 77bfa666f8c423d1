"""Runs and logs that are no longer kept: the state of every asset stays as it was, and a second prune finds nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from sqlalchemy import update

from crossattn_pipeline.event_log import BatchedSqliteEventLogStorage
from crossattn_pipeline.instance import relax_sqlite
from crossattn_pipeline.run_retention import prune_logs, prune_runs
from tests.pipeline.event_log_graph import DATED, DAYS, FRAGILE, WHOLE, instance_at, run_days

LATER = datetime.now(UTC) + timedelta(days=1)
PICTURE = "![curve](data:image/png;base64," + "A" * 5000 + ")"


@pytest.fixture(params=["batched", "stock"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    relax_sqlite()
    with instance_at(tmp_path / "dagster", request.param) as instance:
        yield instance


@pytest.fixture
def runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """A run whose days were all made again since, one that failed, two whose days stand."""
    return {
        "replaced": run_days(instance, "2024-01-02", "2024-01-03"),
        "failed": run_days(instance, "2024-01-09", "2024-01-09", fails=True),
        "failed day": run_days(instance, "2024-01-09", "2024-01-09"),
        "stands": run_days(instance, "2024-01-01", "2024-01-04"),
    }


def state(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the UI, the sensors and Dagster's own staleness read of the assets."""
    seen: dict[str, Any] = {}
    for key in (DATED, WHOLE, FRAGILE):
        seen[f"{key} days"] = sorted(instance.get_materialized_partitions(key))
        latest = instance.get_latest_materialization_event(key)
        seen[f"{key} newest"] = latest and (latest.run_id, latest.timestamp)
        if key != WHOLE:
            chosen = dg.AssetRecordsFilter(key, asset_partitions=list(DAYS.get_partition_keys()))
            records = instance.fetch_materializations(chosen, limit=1000).records
            newest: dict[str, Any] = {}
            for record in records:
                newest.setdefault(str(record.partition_key), (record.run_id, record.asset_materialization))
            seen[f"{key} of days"] = newest
    check = dg.AssetCheckKey(DATED, "dated_is_right")
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    seen["check"] = {str(key): record.run_id for key, record in found.items()}
    return seen


def test_runs_that_no_state_rests_on_go_and_every_asset_stays_as_it_was(instance: dg.DagsterInstance, runs) -> None:
    before = state(instance)
    deleted = {row.kind: row.count for row in prune_runs(instance, LATER)}
    assert {run.run_id for run in instance.get_runs()} == {runs["failed day"], runs["stands"]}
    assert deleted["runs"] == 2
    assert deleted["replaced events"] > 0
    assert state(instance) == before
    assert all(row.count == 0 for row in prune_runs(instance, LATER)), "a second prune deletes nothing"


def test_a_dry_run_deletes_nothing_and_says_what_would_go(instance: dg.DagsterInstance, runs) -> None:
    before = state(instance)
    told = [*prune_runs(instance, LATER, dry_run=True), *prune_logs(instance, LATER, dry_run=True)]
    assert len(instance.get_runs()) == len(runs)
    assert state(instance) == before
    assert all(instance.all_logs(run_id) for run_id in runs.values())
    runs_deleted = prune_runs(instance, LATER)
    assert runs_deleted == told[:2]


def test_what_ended_within_the_kept_days_and_what_is_under_way_stays(instance: dg.DagsterInstance, runs) -> None:
    pending = instance.add_run(dg.DagsterRun(job_name="all_of_it", status=dg.DagsterRunStatus.STARTED))
    found = [*prune_runs(instance, LATER - timedelta(days=2)), *prune_logs(instance, LATER - timedelta(days=2))]
    assert all(row.count == 0 for row in found)
    prune_runs(instance, LATER)
    assert instance.has_run(pending.run_id)


def test_the_log_of_a_run_goes_before_the_run_and_its_assets_stay(instance: dg.DagsterInstance, runs) -> None:
    before, stands = state(instance), runs["stands"]
    steps = {dg.DagsterEventType.STEP_START}
    assert instance.all_logs(stands, of_type=steps)
    deleted = {row.kind: row.count for row in prune_logs(instance, LATER)}
    assert deleted["run logs"] == len(runs)
    assert not instance.all_logs(stands, of_type=steps)
    assert state(instance) == before
    assert len(instance.get_runs()) == len(runs)
    run_days(instance, "2024-01-05", "2024-01-05")  # the databases are as good as before


def test_another_process_that_had_the_log_open_sees_a_run_without_one(tmp_path: Path) -> None:
    with instance_at(tmp_path / "one", "batched") as pruning, instance_at(tmp_path / "one", "batched") as serving:
        run_id = run_days(pruning, "2024-01-02", "2024-01-02")
        assert serving.all_logs(run_id)
        prune_logs(pruning, LATER)
        assert serving.all_logs(run_id) == []
        storage = pruning.event_log_storage
        assert isinstance(storage, BatchedSqliteEventLogStorage)
        assert storage.log_files(run_id), "made anew, empty, by the one that looked"
        prune_logs(pruning, LATER)
        assert storage.log_files(run_id) == []


def test_pictures_of_what_was_made_again_go_and_the_rest_of_the_metadata_stays(instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey("drawn")
    for loss in (1.0, 2.0):
        metadata = {"curve": dg.MetadataValue.md(PICTURE), "loss": loss}
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))
    (row,) = [row for row in prune_logs(instance, LATER) if row.kind == "pictures"]
    assert (row.count, row.size_bytes > 4900) == (1, True)
    newest, older = instance.fetch_materializations(key, limit=2).records
    assert newest.asset_materialization
    assert older.asset_materialization
    assert newest.asset_materialization.metadata["curve"].value == PICTURE
    assert older.asset_materialization.metadata["loss"].value == 1.0
    assert older.asset_materialization.metadata["curve"].value == "curve: no longer kept (retention.log_days)"
    assert all(row.count == 0 for row in prune_logs(instance, LATER))


def test_a_prune_that_was_stopped_is_gone_on_with(instance: dg.DagsterInstance, runs, monkeypatch: pytest.MonkeyPatch) -> None:
    before, delete_run = state(instance), dg.DagsterInstance.delete_run

    def stops(self: dg.DagsterInstance, run_id: str) -> None:
        delete_run(self, run_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(dg.DagsterInstance, "delete_run", stops)
    with pytest.raises(KeyboardInterrupt):
        prune_runs(instance, LATER)
    monkeypatch.setattr(dg.DagsterInstance, "delete_run", delete_run)
    prune_runs(instance, LATER)
    assert {run.run_id for run in instance.get_runs()} == {runs["failed day"], runs["stands"]}
    assert state(instance) == before


def test_an_event_of_a_type_that_is_not_known_survives_a_prune(instance: dg.DagsterInstance, runs) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        table = SqlEventLogStorageTable
        connection.execute(update(table).where(table.c.asset_key == '["whole"]').values(dagster_event_type="SOMETHING_NEW"))
    prune_runs(instance, LATER)
    with storage.index_connection() as connection:
        kept = connection.execute(table.select().where(table.c.dagster_event_type == "SOMETHING_NEW")).fetchall()
    assert {row.run_id for row in kept} >= {runs["failed day"], runs["stands"]}
