"""A real daemon ticks schedule and sensors over days; two processes at once share the pool."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.storage import write_text
from crossattn_core.walk_forward.store import read_plan
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.instance import EXPERIMENT_VARIABLE, HOME_VARIABLE, adopt_instance
from crossattn_pipeline.partitions import RANGE_END, RANGE_START, range_tags
from crossattn_pipeline.schedules import TRIGGER
from tests.pipeline.live_location import CLOCK_VARIABLE
from tests.pipeline.processes import running
from tests.small import past, small_experiment, write_market

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
LOCATION = ("-m", "tests.pipeline.live_location")
FIRST_DAY, CAUGHT_UP = date(2025, 3, 10), date(2025, 3, 20)
"""Days that are there when the daemon starts; the first model serves from the last of them."""
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Market, experiment and home; the home's own instance is the one of this process and of all that it starts."""
    write_market(tmp_path / "market")
    for name in ("DAGSTER_HOME", HOME_VARIABLE, EXPERIMENT_VARIABLE, CLOCK_VARIABLE):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv(EXPERIMENT_VARIABLE, str(tmp_path / "small.yaml"))
    monkeypatch.setenv(CLOCK_VARIABLE, str(tmp_path / "clock"))
    return tmp_path


def _line(folder: Path, clock: Callable[[], datetime], end: date | None) -> Line:
    experiment = small_experiment(
        folder / "market",
        period={"start": str(FIRST_DAY), "end": end and str(end)},
        retrain={"minimum_days": 10, "every_days": 2, "cooldown_days": 1},
    )
    (folder / "small.yaml").write_text(json.dumps(experiment.model_dump(mode="json")), encoding="utf-8")
    line = Line(experiment, open_home(folder / "home", experiment), clock=clock)
    adopt_instance(line.home)
    return line


@contextmanager
def _daemon(log: Path) -> Iterator[None]:
    for kind in ("schedule", "sensor"):
        command = (sys.executable, "-m", "dagster", kind, "start", "--start-all", *LOCATION)
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with running((sys.executable, "-m", "dagster._daemon", "run", *LOCATION), log, by=signal.SIGINT):
        yield


def _wait(instance: dg.DagsterInstance, job: str, day: date, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """The first run of ``job`` that ends with ``day`` and has ``status``."""
    chosen = dg.RunsFilter(job_name=job, statuses=[status], tags={RANGE_END: day.isoformat()})
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        found = instance.get_runs(chosen)
        if found:
            return found[-1]
        time.sleep(1)
    found = [(run.job_name, run.status.value, run.tags.get(RANGE_END), run.tags.get(TRIGGER)) for run in instance.get_runs()]
    pytest.fail(f"no {job} of {day} became {status.value} in time; there are {found}")


def test_a_daemon_lives_through_days_and_launches_a_failed_run_again_before_any_alert(folder: Path) -> None:
    def now() -> datetime:
        return datetime.fromisoformat((folder / "clock").read_text(encoding="utf-8"))

    def close(day: date) -> None:
        at = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(minutes=10)
        write_text(folder / "clock", at.isoformat())  # replaced whole: the daemon reads it meanwhile

    done, failed = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    close(CAUGHT_UP)
    line = _line(folder, now, None)
    days = [CAUGHT_UP + timedelta(days=ahead) for ahead in range(3)]
    with dg.DagsterInstance.get() as instance:
        data = build_defs(line.experiment, line.home.root, clock=now).resolve_job_def("data")
        assert data.execute_in_process(instance=instance, tags=range_tags([FIRST_DAY, CAUGHT_UP]), run_config=SILENT).success
        with _daemon(folder / "daemon.log"):
            first = _wait(instance, "models", CAUGHT_UP, done)
            assert first.tags[RANGE_START] == FIRST_DAY.isoformat()
            # The source is away when the next day is due: the run fails, and is launched again.
            (folder / "market").rename(folder / "away")
            close(days[1])
            broken = _wait(instance, "data", days[1], failed)
            (folder / "away").rename(folder / "market")
            again = _wait(instance, "data", days[1], done)
            assert again.root_run_id == broken.run_id
            _wait(instance, "models", days[1], done)
            close(days[2])
            _wait(instance, "data", days[2], done)
            _wait(instance, "models", days[2], done)
        launched = [run for run in instance.get_runs() if run.tags.get(TRIGGER) and run.root_run_id is None]
        keys = [run.tags["dagster/run_key"] for run in launched]
    assert len(keys) == len(set(keys))
    assert not (line.home.root / "alerts").exists()
    data_days = {run.tags[RANGE_END] for run in launched if (run.job_name, run.tags[TRIGGER]) == ("data", "schedule")}
    assert data_days >= {day.isoformat() for day in days[1:]}
    models = {run.tags[RANGE_END]: run.tags for run in launched if run.job_name == "models"}
    assert list(models) == [day.isoformat() for day in reversed(days)]
    plan = read_plan(line.home).drop_duplicates("day").set_index("day")["reason"]
    assert [plan[str(day)] for day in days] == ["first", "none", "scheduled"]
    for day in days[1:]:
        tags = models[day.isoformat()]
        assert tags["crossattn/reason"] == plan[str(day)]
        assert tags[TRIGGER] == tags["dagster/sensor_name"] == "new_complete_day"


def test_two_processes_at_once_take_turns_in_the_pool_and_both_succeed(folder: Path) -> None:
    line = _line(folder, past, CAUGHT_UP)
    command = (sys.executable, "-m", "crossattn_pipeline.cli", "run", "--experiment", str(folder / "small.yaml"))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(subprocess.run, command, cwd=PROJECT, capture_output=True, text=True, timeout=900) for _ in range(2)]
    ended = [done.result() for done in both]
    assert [done.returncode for done in ended] == [0, 0], "\n".join(done.stdout + done.stderr for done in ended)
    with dg.DagsterInstance.get() as instance:
        runs = [record for record in instance.get_run_records() if record.dagster_run.job_name == "data"]
        assert len(runs) == 2
        assert max(record.start_time or 0 for record in runs) < min(record.end_time or 0 for record in runs)
        turns = sorted(turn for record in runs for turn in _turns(instance, record.dagster_run.run_id))
    assert {run_id for _, _, run_id in turns} == {record.dagster_run.run_id for record in runs}
    assert all(before[1] <= after[0] for before, after in pairwise(turns))
    assert line.staleness.stale_stages(FIRST_DAY, CAUGHT_UP) == []


def _turns(instance: dg.DagsterInstance, run_id: str) -> list[tuple[float, float, str]]:
    """(start, end, run) of each step of a run that DuckDB is open in."""
    pooled = {"feature_windows", "backtest_report"}
    started: dict[str, float] = {}
    turns = []
    for entry in instance.all_logs(run_id, of_type={dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS}):
        event = entry.get_dagster_event()
        step = str(event.step_key)
        if step in pooled or step.startswith(("staging__", "aligned__", "features__")):
            if event.is_step_start:
                started[step] = entry.timestamp
            else:
                turns.append((started[step], entry.timestamp, run_id))
    return turns
