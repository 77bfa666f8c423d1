"""The whole line through Dagster, stage by stage: CPU and wall seconds, peak memory, and what Dagster itself costs.

    python -m benchmarks.bench_line                                       # demo and, where their files are, recorded and minute
    python -m benchmarks.bench_line --experiment experiments/demo.yaml

Each experiment runs in a process and a home of its own. Writes benchmarks/results_line.md. CPU beside the stages is booked by
sampling (cpu_shares.py, which says what counts as whose): Dagster's own, and what assets show and check through it.
"""

import argparse
import functools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.cpu_shares import BESIDE_STAGES, DAGSTER, CpuShares
from crossattn_core.experiment import load_experiment
from crossattn_core.home import open_home

HERE = Path(__file__).parent
STAGES = (
    "ingest_candles",
    "ingest_funding",
    "build_table",
    "export_windows",
    "find_regimes",
    "walk_forward",
    "watch",
    "snapshot_attention",
    "decide_weights",
    "write_report",
)


class Clock:
    """CPU and wall seconds spent inside each stage."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def add(self, stage: str, cpu: float, wall: float) -> None:
        held_cpu, held_wall = self.spent.get(stage, (0.0, 0.0))
        self.spent[stage] = (held_cpu + cpu, held_wall + wall)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with its time booked; a generator's time is booked while it runs, not while it waits."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            result = function(*arguments, **named)
            self.add(stage, time.process_time() - cpu, time.perf_counter() - wall)
            return self._steps(stage, result) if isinstance(result, Iterator) else result

        return wrapper

    def _steps(self, stage: str, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                self.add(stage, time.process_time() - cpu, time.perf_counter() - wall)
            yield step


def measure(experiment_file: str, send: Any) -> None:
    """Run one experiment in a fresh home and send what it took."""
    os.environ.pop("DAGSTER_HOME", None)
    clock, shares, wall = Clock(), CpuShares(STAGES), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with shares:
            from crossattn_core import data_stages, model_stages
            from crossattn_core.line import Line
            from crossattn_pipeline.launch import materialize_stale

            for stage in STAGES:
                module = data_stages if hasattr(data_stages, stage) else model_stages
                setattr(module, stage, clock.timed(stage, getattr(module, stage)))
            experiment = load_experiment(Path(experiment_file))
            line = Line(experiment, open_home(Path(folder) / "home", experiment))
            materialize_stale(line, experiment.period.start, line.last_day, lambda text: None)
        wall = time.perf_counter() - wall
        again = time.perf_counter()
        materialize_stale(line, experiment.period.start, line.last_day, lambda text: None)
        again = time.perf_counter() - again
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    send.send(
        {
            "name": experiment.name,
            "days": (line.last_day - experiment.period.start).days + 1,
            "assets": len(experiment.assets),
            "spent": clock.spent,
            "beside": shares.seconds,
            "total": (shares.total, wall),
            "again": again,
            "peak_mib": peak,
            "home_mib": size / 2**20,
        }
    )


def table(results: list[dict[str, Any]]) -> str:
    """The measurements as Markdown."""
    lines = []
    for result in results:
        cpu, wall = result["total"]
        lines += [
            f"**{result['name']}**: {result['days']} days, {result['assets']} assets; peak memory {result['peak_mib']:.0f} MiB, "
            f"home {result['home_mib']:.0f} MiB; run again with nothing stale {result['again']:.1f} s.",
            "",
            "| stage | CPU s | wall s | share of CPU |",
            "|---|---:|---:|---:|",
        ]
        for stage, (stage_cpu, stage_wall) in result["spent"].items():
            lines.append(f"| {stage} | {stage_cpu:.1f} | {stage_wall:.1f} | {stage_cpu / cpu:.0%} |")
        for row in BESIDE_STAGES:
            lines.append(f"| {row} | {result['beside'][row]:.1f} | | {result['beside'][row] / cpu:.0%} |")
        lines.append(f"| all | {cpu:.1f} | {wall:.1f} | 100% |")
        dagster, beside = sum(result["beside"][row] for row in DAGSTER), sum(result["beside"].values())
        lines.append(f"| **Dagster's own** | {dagster:.1f} | | **{dagster / cpu:.1%}** |")
        lines += [f"| **everything beside the stages** | {beside:.1f} | | **{beside / cpu:.1%}** |", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", action="append", help="experiment file; demo, recorded and minute where none is given")
    chosen = parser.parse_args().experiment
    if not chosen:
        chosen = ["experiments/demo.yaml"]
        for name in ("recorded", "minute"):
            path = HERE.parent / "experiments" / f"{name}.yaml"
            if Path(load_experiment(path).feed.folder).is_dir():
                chosen.append(str(path))
    results = []
    for experiment_file in chosen:
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(experiment_file, send))
        process.start()
        send.close()
        results.append(receive.recv())
        process.join()
    text = table(results)
    print(text)
    (HERE / "results_line.md").write_text(text, encoding="utf-8")
    json.dump([result["total"] for result in results], sys.stderr)


if __name__ == "__main__":
    main()
