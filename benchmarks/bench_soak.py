"""What weeks of live operation cost: memory of web server and daemon, and the size of the home, with and without retention.

    python -m benchmarks.bench_soak              # 60 days, twice: about fifteen minutes on a quiet machine
    python -m benchmarks.bench_soak --days 10

A small live experiment (four assets, a retrain a day) on a clock that is moved. Web server and daemon are real processes over the
home, and the web server is asked for runs, assets and the page after each day. A daemon cannot be hurried, so its ticks are the
schedule's and the sensors' own evaluations, one after the other, and their runs are made in this process over the same storage.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil

from crossattn_core.experiment import Experiment
from crossattn_core.home import Home, open_home
from crossattn_core.retention import GRACE, prune_home
from crossattn_pipeline.instance import EXPERIMENT_VARIABLE, HOME_VARIABLE, PROJECT, adopt_instance
from crossattn_pipeline.partitions import range_tags
from crossattn_pipeline.run_retention import prune_logs, prune_runs
from tests.pipeline.live_location import CLOCK_VARIABLE
from tests.pipeline.test_live import FIRST_DAY, HISTORY, Live
from tests.small import small_experiment, write_market

HERE = Path(__file__).parent
KEPT = {"model_days": 6, "snapshot_days": 6, "report_days": 12, "run_days": 6, "log_days": 12}
"""Knob of retention -> which part of the days it keeps."""
PARTS = ("lake", "warehouse.duckdb", "panel", "models", "walk_forward", "attention", "reports", "dagster")
QUERY = "{runsOrError(limit: 50) {... on Runs {results {id status tags {key value}}}} assetNodes {id assetKey {path}}}"
LOCATION = ("-m", "tests.pipeline.live_location")
MB = 1e6


class Operated(Live):
    """Live operation with everything that a day makes, pages and marts too."""

    def run(self, job: str, tags: dict[str, str]) -> None:
        """A run as the daemon launches it."""
        silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        made = self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance, tags=tags, run_config=silent)
        assert made.success


@dataclass(frozen=True)
class Day:
    """What was measured after a day of operation."""

    seconds: float
    home_bytes: dict[str, int]
    web: tuple[int, ...]
    """Resident bytes of the web server, and of each code server that it started."""
    daemon: tuple[int, ...]


def main() -> None:
    """Live through the days with and without retention, print each, and write ``results_soak.md``."""
    parser = argparse.ArgumentParser(description="What weeks of live operation cost.")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--note", default="", help="about the machine, for the results")
    chosen = parser.parse_args()
    soaked, retained = {}, {name: max(chosen.days // part, 1) for name, part in KEPT.items()}
    for name, kept in (("all is kept", {}), ("retention", retained)):
        with tempfile.TemporaryDirectory() as folder:
            soaked[name] = list(soak(Path(folder), chosen.days, kept, name))
    text = _results(soaked, retained, chosen.note)
    (HERE / "results_soak.md").write_text(text, encoding="utf-8")
    print(text)


def soak(folder: Path, days: int, kept: dict[str, int], name: str) -> Iterator[Day]:
    """Operate a new home for so many days; yields each as it ends."""
    live_from = FIRST_DAY + HISTORY
    write_market(folder / "market", str(live_from + timedelta(days=days)))
    experiment = small_experiment(
        folder / "market",
        period={"start": str(FIRST_DAY), "end": None},
        retrain={"minimum_days": HISTORY.days, "every_days": 1, "cooldown_days": 1},
        retention=kept,
    )
    (folder / "small.yaml").write_text(json.dumps(experiment.model_dump(mode="json")), encoding="utf-8")
    os.environ |= {
        HOME_VARIABLE: str(folder / "home"),
        EXPERIMENT_VARIABLE: str(folder / "small.yaml"),
        CLOCK_VARIABLE: str(folder / "clock"),
    }
    os.environ.pop("DAGSTER_HOME", None)
    home = open_home(folder / "home", experiment)
    adopt_instance(home)
    ended: list[datetime] = []
    with dg.DagsterInstance.get() as instance:
        lived = Operated(experiment, home.root, instance)
        (folder / "clock").write_text(lived.clock().isoformat(), encoding="utf-8")
        lived.run("data", range_tags([FIRST_DAY, live_from - timedelta(days=1)]))
        with _serving(folder) as (web, daemon, url):
            for ahead in range(days):
                began, day = time.monotonic(), live_from + timedelta(days=ahead)
                lived.live(day)
                (folder / "clock").write_text(lived.clock().isoformat(), encoding="utf-8")
                ended.append(datetime.now(UTC))
                if kept:
                    _prune(instance, home, experiment, ended, day)
                _ask(url, f"/reports/{day}/report.html")
                measured = Day(time.monotonic() - began, _sizes(home.root), _memory(web), _memory(daemon))
                print(
                    f"{name}, day {ahead + 1}: {measured.seconds:.0f} s, home {sum(measured.home_bytes.values()) / MB:.1f} MB, "
                    f"web server {_in_mb(measured.web)} MB, daemon {_in_mb(measured.daemon)} MB",
                    flush=True,
                )
                yield measured


def _prune(instance: dg.DagsterInstance, home: Home, experiment: Experiment, ended: list[datetime], day: date) -> None:
    """As 'crossattn prune', where a day is one of operation: runs are dated by the machine's clock, which is not moved."""
    settings = experiment.retention
    prune_home(home, experiment, day, now=datetime.now(UTC) + 2 * GRACE)
    if len(ended) > settings.run_days:
        prune_runs(instance, ended[-1 - settings.run_days])
    if len(ended) > settings.log_days:
        prune_logs(instance, ended[-1 - settings.log_days])


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Process ids of a web server and a daemon over the environment's home, and the web server's address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    commands = (
        ("crossattn_pipeline.webserver", "--host", "127.0.0.1", "--port", str(port), *LOCATION),
        ("dagster._daemon", "run", *LOCATION),
    )
    running = []
    with (folder / "log").open("w") as log:
        try:
            for command in commands:
                running.append(subprocess.Popen((sys.executable, "-m", *command), cwd=PROJECT, stdout=log, stderr=log))
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    _ask(url, "/server_info")
                    break
                except OSError:
                    time.sleep(1)
            yield running[0].pid, running[1].pid, url
        finally:
            for process in running:
                process.terminate()
            for process in running:
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()


def _ask(url: str, page: str) -> None:
    body = json.dumps({"query": QUERY}).encode()
    query = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    for asked in (query, f"{url}{page}"):
        with urllib.request.urlopen(asked, timeout=120) as answer:
            answer.read()


def _sizes(home: Path) -> dict[str, int]:
    """Bytes of each part of a home, and of the rest."""
    sizes: dict[str, int] = dict.fromkeys((*PARTS, "rest"), 0)
    for path in home.rglob("*"):
        part = path.relative_to(home).parts[0]
        try:
            sizes[part if part in PARTS else "rest"] += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # a journal of SQLite's
    return sizes


def _memory(pid: int) -> tuple[int, ...]:
    """Resident bytes of a process and of each that it started."""
    resident, process = [], psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a code server that was replaced
            resident.append(one.memory_info().rss)
    return tuple(resident)


def _in_mb(resident: tuple[int, ...]) -> str:
    return " + ".join(f"{size / MB:.0f}" for size in resident)


def _replaced(lived: list[Day]) -> int:
    return sum(len(day.daemon) > 2 for day in lived)


def _part(day: Day, part: str) -> int:
    return sum(day.home_bytes.values()) if part == "all" else day.home_bytes[part]


def _results(soaked: dict[str, list[Day]], retained: dict[str, int], note: str) -> str:
    days, knobs = len(soaked["retention"]), ", ".join(f"`{name}` {value}" for name, value in retained.items())
    kept, pruned = soaked["all is kept"], soaked["retention"]
    seconds = sum(day.seconds for lived in soaked.values() for day in lived)
    noted = f", {note}" if note else ""
    lines = [
        f"Four assets, a retrain a day, {days} days of operation, twice ({seconds / 60:.0f} wall minutes{noted}). "
        f"Retention: {knobs}. MB, at the end of a day; memory is resident: the process + each of its code servers. "
        "The daemon replaces its own every minute, and the old one ends within half a minute: "
        f"two at the end of {_replaced(pruned)} of {days} days.",
        "",
        "| day | home, all is kept | home, retention | web server | daemon |",
        "|---:|---:|---:|---:|---:|",
    ]
    for place in sorted({0, *range(9, days, 10), days - 1}):
        one, other = kept[place], pruned[place]
        homes = " | ".join(f"{sum(day.home_bytes.values()) / MB:.1f}" for day in (one, other))
        lines.append(f"| {place + 1} | {homes} | {_in_mb(other.web)} | {_in_mb(other.daemon)} |")
    half = days // 2
    lines += ["", "Growth a day, kB, second half of the days:", "", "| part | all is kept | retention |", "|---|---:|---:|"]
    for part in (*PARTS, "rest", "all"):
        sizes = [[_part(lived[place], part) for place in (half, days - 1)] for lived in (kept, pruned)]
        grown = [(last - first) / max(days - 1 - half, 1) / 1e3 for first, last in sizes]
        lines.append(f"| {part} | {grown[0]:.0f} | {grown[1]:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
