"""Dagster's history in PostgreSQL: the same views as in SQLite, and a home that says where its history is."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import create_engine, text

from crossattn_core.errors import HomeError
from crossattn_core.home import Home
from crossattn_pipeline.instance import POSTGRES_VARIABLE, adopt_instance
from crossattn_pipeline.postgres import check_postgres
from tests.forks import PROJECT, forked
from tests.pipeline.commands import environment_of
from tests.pipeline.event_log_graph import DATED, FRAGILE, instance_at, run_days, statuses
from tests.pipeline.pool_race import POOL, claim_at_once
from tests.pipeline.processes import running
from tests.pipeline.queue_location import MARK_VARIABLE
from tests.servers.postgres import PostgresServer, postgres_programs, postgres_server

pytestmark = pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed (Debian: postgresql)")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    engine.dispose()
    return f"{server.url.rpartition('/')[0]}/{name}"


@pytest.fixture
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose history is in that database; its instance is this process's."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "4")
    monkeypatch.setenv(POSTGRES_VARIABLE, url)
    home = Home(tmp_path / "home")
    adopt_instance(home)
    return home


def _history(instance: dg.DagsterInstance) -> dict[str, object]:
    """The same runs in any storage: two that succeed, one that fails in the middle, one that mends half of that."""
    run_days(instance, "2024-01-01", "2024-01-06")
    run_days(instance, "2024-01-04", "2024-01-09", made=2, fails=True)
    run_days(instance, "2024-01-06", "2024-01-07")
    planned = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DATED)
    return {
        "dated": statuses(instance, DATED),
        "fragile": statuses(instance, FRAGILE),
        "materialized": sorted(instance.get_materialized_partitions(FRAGILE)),
        "runs": [run.status for run in instance.get_runs()],
        "planned events": len(instance.event_log_storage.get_event_records(planned)),
    }


@pytest.mark.usefixtures("home")
def test_a_failed_day_is_shown_as_in_sqlite_though_a_run_plans_an_asset_with_one_event(tmp_path: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        found = _history(instance)
        run_id = instance.get_runs(limit=1)[0].run_id
        assert instance.event_log_storage.get_latest_planned_materialization_info(FRAGILE, "2024-01-07").run_id == run_id
    with instance_at(tmp_path / "stock", "stock") as instance:
        expected = _history(instance)
    assert found.pop("planned events") == 3
    assert expected.pop("planned events") == 14
    assert found == expected
    assert found["fragile"]["failed"] == {"2024-01-08", "2024-01-09"}


@pytest.mark.usefixtures("home")
def test_of_two_that_claim_a_new_pool_at_once_one_holds_it() -> None:
    with dg.DagsterInstance.get() as first, dg.DagsterInstance.get() as second:
        (holder,) = claim_at_once(first, second)
        state = first.event_log_storage.get_concurrency_info(POOL)
    assert (state.slot_count, state.active_run_ids, state.assigned_step_count) == (1, {holder}, 1)


def test_no_password_is_written_into_the_home(home: Home, url: str) -> None:
    written = (home.dagster / "dagster.yaml").read_text(encoding="utf-8")
    assert url not in written
    assert yaml.safe_load(written)["run_storage"]["config"] == {"postgres_url": {"env": POSTGRES_VARIABLE}}


def test_a_home_with_its_history_in_postgres_is_not_run_into_sqlite_by_mistake(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv(POSTGRES_VARIABLE)
    with pytest.raises(HomeError, match="has Dagster's history in PostgreSQL: set CROSSATTN_POSTGRES_URL"):
        adopt_instance(home)
    (home.dagster / "dagster.yaml").unlink()
    adopt_instance(home)
    assert "Sqlite" in (home.dagster / "dagster.yaml").read_text(encoding="utf-8")


def test_an_address_that_cannot_be_used_is_told_without_its_password(server: PostgresServer) -> None:
    assert check_postgres(server.url).startswith("PostgreSQL ")
    nobody_listens = "postgresql+psycopg2://crossattn:hidden-word@127.0.0.1:9/x"
    for wrong, words in (
        (server.url.replace("+psycopg2", ""), r"begins with postgresql://; write postgresql\+psycopg2://"),
        ("somewhere", "is no address"),
        (server.url.replace("/postgres", "/nothing").replace("crossattn@", "crossattn:hidden-word@"), '"nothing" does not exist'),
        (nobody_listens, "127.0.0.1:9/x cannot be used"),
    ):
        with pytest.raises(HomeError, match=words) as refused:
            check_postgres(wrong)
        assert "hidden-word" not in str(refused.value)


def test_the_deployments_instance_loads_and_keeps_its_queue_and_retries(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_VARIABLE, url)
    monkeypatch.setenv("CROSSATTN_LOGS", str(tmp_path / "logs"))
    with dg.DagsterInstance.from_config(str(PROJECT / "deploy")) as instance:
        run_days(instance, "2024-01-01", "2024-01-02")
        assert statuses(instance, DATED)["materialized"] == {"2024-01-01", "2024-01-02"}
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert (limits.max_concurrent_runs, len(limits.tag_concurrency_limits)) == (4, 1)
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled


@pytest.mark.slow
def test_a_home_moves_from_sqlite_to_postgres_without_making_anything_again(ready_folder: Path, url: str, tmp_path: Path) -> None:
    """What is made is known by receipts; runs of before stay in the SQLite files, later ones are in PostgreSQL."""
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    sqlite, postgres = environment_of(tmp_path / "home"), environment_of(tmp_path / "home") | {POSTGRES_VARIABLE: url}
    file = str(ready_folder / "small.yaml")

    def crossattn(environment: dict[str, str], *command: str) -> str:
        done = forked(_main, *command, "--experiment", file, "--json", environment=environment)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    crossattn(sqlite, "run")
    crossattn(sqlite, "backtest")
    assert crossattn(sqlite, "stale") == crossattn(postgres, "stale") == ""
    crossattn(postgres, "run")
    crossattn(postgres, "backtest")
    (history,) = (row for row in map(json.loads, crossattn(postgres, "doctor").splitlines()) if row["check"] == "history")
    assert history["message"].startswith("PostgreSQL ")
    os.environ[POSTGRES_VARIABLE] = url
    try:
        with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
            assert [(run.job_name, run.status.value) for run in instance.get_runs()] == [("models", "SUCCESS")]
            keys = instance.get_latest_materialization_event(dg.AssetKey("backtest_report"))
            assert keys is not None
    finally:
        del os.environ[POSTGRES_VARIABLE]
    assert (tmp_path / "home" / "dagster" / "history" / "runs.db").is_file()


def _main(*arguments: str) -> None:
    from crossattn_pipeline.cli import main

    sys.argv = ["crossattn", *arguments]
    main()


@pytest.mark.slow
def test_twenty_queued_runs_pass_a_real_daemon_four_at_a_time_and_only_a_dead_worker_is_replaced(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (PROJECT / "deploy" / "dagster.yaml").read_text(encoding="utf-8")
    (tmp_path / "dagster.yaml").write_text(settings.replace("poll_interval_seconds: 30", "poll_interval_seconds: 5"))
    for name, value in {
        "DAGSTER_HOME": str(tmp_path),
        "CROSSATTN_LOGS": str(tmp_path / "logs"),
        MARK_VARIABLE: str(tmp_path / "mark"),
        POSTGRES_VARIABLE: url,
    }.items():
        monkeypatch.setenv(name, value)
    daemon = (sys.executable, "-m", "dagster._daemon", "run", "-m", "tests.pipeline.queue_location")
    with dg.DagsterInstance.get() as instance, running(daemon, tmp_path / "daemon.log", by=signal.SIGINT):
        deadline = time.monotonic() + 800
        while not _all_ended(instance) and time.monotonic() < deadline:
            time.sleep(2)
        records = instance.get_run_records()
    ended = [(record.dagster_run.job_name, record.dagster_run.status.value) for record in records]
    assert ended.count(("queued", "SUCCESS")) == 20, ended
    assert ("every_minute", "SUCCESS") in ended
    assert [status for job, status in ended if job == "refuses"] == ["FAILURE"]  # and it was not launched again
    assert [status for job, status in ended if job == "dies_once"] == ["SUCCESS", "FAILURE"]
    spans = [(record.start_time or 0, record.end_time or 0) for record in records if record.dagster_run.status.value == "SUCCESS"]
    assert 2 <= max(sum(start <= at < end for start, end in spans) for at, _ in spans) <= 4


def _all_ended(instance: dg.DagsterInstance) -> bool:
    """Whether what was asked for once has ended; the schedule goes on each minute."""
    ended = [run.job_name for run in instance.get_runs() if run.is_finished]
    wanted = {"queued": 20, "dies_once": 2, "refuses": 1, "every_minute": 1}
    return all(ended.count(job) >= count for job, count in wanted.items())
