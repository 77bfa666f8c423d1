"""The event log's files: several processes and threads over them, a kill in a batch, what stays open and what is left."""

import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import Engine, event

from crossattn_pipeline.event_log import BatchedSqliteEventLogStorage
from tests.forks import PROJECT, forked
from tests.pipeline.event_log_graph import (
    DATED,
    DAYS,
    days_tags,
    definitions,
    instance_at,
    materialization,
    run_days,
    statuses,
)

pytestmark = pytest.mark.usefixtures("in_batches")


def write_batches(folder: Path, run_id: str, batches: int) -> None:
    with instance_at(folder, "batched") as instance:
        for batch in range(batches):
            days = DAYS.get_partition_keys()[batch % 7 :: 7]
            instance.event_log_storage.store_event_batch([materialization(run_id, day) for day in days])


def test_a_reader_behind_a_cursor_misses_no_event_of_two_processes_that_write_at_once(
    ours: dg.DagsterInstance, tmp_path: Path
) -> None:
    def write(run_id: str) -> CompletedProcess[str]:
        return forked(write_batches, tmp_path / "batched", run_id, 28, environment=dict(os.environ))

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, run_id) for run_id in ("one", "two")]
        cursor, read = None, []
        while True:
            ended = all(writer.done() for writer in writers)
            page = ours.fetch_materializations(DATED, limit=13, cursor=cursor, ascending=True)
            cursor = page.cursor
            read += page.records
            if ended and not page.records:
                break
            if not page.records:
                time.sleep(0.02)
        assert [writer.result().stderr for writer in writers if writer.result().returncode] == []
    ids = [record.storage_id for record in read]
    assert ids == list(range(1, 2 * 4 * 31 + 1))
    for run_id in ("one", "two"):
        logged = [entry.get_dagster_event().partition for entry in ours.all_logs(run_id)]
        assert [record.partition_key for record in read if record.run_id == run_id] == logged
        assert len(logged) == 4 * 31


def die_in_the_second_batch(folder: Path, commits: int) -> None:
    """Store a batch, begin another, and be killed when it has committed to ``commits`` of its two databases."""
    with instance_at(folder, "batched") as instance:
        instance.event_log_storage.store_event_batch([materialization("run", "2024-01-01"), materialization("run", "2024-01-02")])
        left = [commits]

        def count(_: object) -> None:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        event.listen(Engine, "commit", count)
        instance.event_log_storage.store_event_batch([materialization("run", "2024-01-03"), materialization("run", "2024-01-04")])


@pytest.mark.parametrize(("commits", "logged"), [(0, 2), (1, 4)])
def test_a_kill_in_a_batch_loses_that_batch_at_most(tmp_path: Path, commits: int, logged: int) -> None:
    folder = tmp_path / "batched"
    ended = forked(die_in_the_second_batch, folder, commits, environment=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    for database in (folder / "history" / "runs").glob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    with instance_at(folder, "batched") as instance:
        assert len(instance.all_logs("run")) == logged
        assert instance.get_materialized_partitions(DATED) == {"2024-01-01", "2024-01-02"}
        instance.event_log_storage.store_event_batch([materialization("run", "2024-01-03"), materialization("run", "2024-01-04")])
        assert len(instance.get_materialized_partitions(DATED)) == 4


def test_only_the_databases_of_the_latest_runs_stay_open_and_none_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossattn_pipeline.event_log.MAX_OPEN_RUNS", 2)

    def opened() -> set[str]:
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        names = {os.path.realpath(link) for link in links if os.path.lexists(link)}
        return {name for name in names if name.startswith(str(tmp_path.resolve())) and name.endswith(".db")}

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files")
    with instance_at(tmp_path / "batched", "batched") as instance:
        for number in range(4):
            instance.event_log_storage.store_event(materialization(f"run{number}", "2024-01-01"))
        assert len(opened()) == 2 + 1
        assert len(instance.all_logs("run0")) == 1
    assert opened() == set()


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_ended_leaves_no_log_of_commits_beside_its_database(ours: dg.DagsterInstance, fails: bool) -> None:
    storage = ours.event_log_storage
    assert isinstance(storage, BatchedSqliteEventLogStorage)
    storage.store_event(materialization("going on", "2024-01-01"))
    ended = run_days(ours, "2024-01-01", "2024-01-05", fails=fails)
    assert [file.suffix for file in storage.log_files("going on")] == [".db", ".db-wal", ".db-shm"]
    assert [file.suffix for file in storage.log_files(ended)] == [".db"]
    assert len(ours.all_logs(ended)) > 5


def test_threads_of_a_web_server_read_while_a_run_writes(ours: dg.DagsterInstance) -> None:
    def read(_: int) -> int:
        return len(ours.all_logs("run")) + len(ours.get_materialized_partitions(DATED))

    with ThreadPoolExecutor(4) as pool:
        reads = pool.map(read, range(40))
        for day in DAYS.get_partition_keys():
            ours.event_log_storage.store_event_batch([materialization("run", day), materialization("run", day)])
        assert max(reads) <= 3 * 31
    assert len(ours.all_logs("run")) == 2 * 31


def test_the_shipped_settings_open_the_files_of_dagsters_own_sqlite_storage(tmp_path: Path) -> None:
    with instance_at(tmp_path / "own", "stock") as instance:
        own = instance.event_log_storage
        assert isinstance(own, SqliteEventLogStorage)
    shipped = (PROJECT / "dagster.yaml").read_text(encoding="utf-8").replace(".crossattn/dagster", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(yaml.safe_dump({"storage": {"sqlite": {"base_dir": str(tmp_path / "home")}}}))
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as before:
        run = before.create_run_for_job(definitions().resolve_job_def("all_of_it"), tags=days_tags("2024-01-01", "2024-01-02"))
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")}
    (tmp_path / "home" / "dagster.yaml").write_text(shipped, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as after:
        assert isinstance(after.event_log_storage, BatchedSqliteEventLogStorage)
        assert [found.run_id for found in after.get_runs()] == [run.run_id]
        assert statuses(after, DATED)["in progress"] == {"2024-01-01", "2024-01-02"}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")} == files
