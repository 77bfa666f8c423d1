"""The whole line, candles to page, as the universe grows: CPU seconds and peak memory of each stage, and how each grows.

    python -m benchmarks.bench_growth                          10, 30 and 100 assets
    python -m benchmarks.bench_growth --assets 300             one more size; earlier ones are read from the file of runs
    python -m benchmarks.bench_growth --assets 10 --days 120 365 3650
                                                               as history grows, to ten years
    python -m benchmarks.bench_growth --stored                 the table of what was run so far

A simulated market of hours that ends on one day: every fifth asset leads the four after it, the last twentieth of the assets are
listed half way through. Default experiment, one thread, through Dagster as `crossattn run` does it. Each size runs in a process
and a home of its own and is appended to a file as it ends (--runs). Writes results_line_growth.md or results_line_years.md.

A stage's peak is the process's largest resident memory while it ran, libraries (about .6 GB with Dagster) and what earlier stages
left included. CPU beside the stages is booked by sampling, as cpu_shares.py says. Growth is the exponent of assets (or days)
between two neighbouring sizes: 1 is linear in them, 2 in pairs of assets.
"""

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_line import STAGES, Clock
from benchmarks.cpu_shares import BESIDE_STAGES, DAGSTER, EVENT_LOG, CpuShares
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import open_home
from crossattn_core.universe import Asset

DAYS, LATE_SHARE = 120, 0.05
LAST_DAY = date(2025, 4, 30)
LAGS = (1, 3, 6, 12)
NOT_DIVIDED = "definitions, steps, checks, metadata, pictures"
"""Row of a run that was stored before these were told apart (cpu_shares.py)."""


def growth_experiment(assets: int, days: int = DAYS) -> Experiment:
    """The default experiment on a simulated market of so many perpetuals in sectors of ten."""
    symbols = [f"A{n:03d}USDT" for n in range(assets)]
    leads = [
        {"leader": symbols[n - n % 5], "follower": symbols[n], "lag": LAGS[n % 5 - 1], "share": 0.05}
        for n in range(assets)
        if n % 5
    ]
    return load_experiment(
        None,
        {
            "name": f"growth-{assets}",
            "assets": [{"venue": "bybit", "symbol": symbol, "sector": f"sector {n // 10}"} for n, symbol in enumerate(symbols)],
            "feed": {"kind": "simulated", "simulated": {"leads": leads}},
            "period": {"start": (LAST_DAY - timedelta(days=days - 1)).isoformat(), "end": LAST_DAY.isoformat()},
            "training": {"threads": 1},
        },
    )


class MemoryClock(Clock):
    """A clock that also knows the largest resident memory while a stage ran."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_mib: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def add(self, stage: str, cpu: float, wall: float) -> None:
        super().add(stage, cpu, wall)
        self.peak_mib[stage] = max(self.peak_mib.get(stage, 0.0), peak_mib())
        self.calls[stage] = self.calls.get(stage, 0) + 1

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        timed = super().timed(stage, function)

        @functools.wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            forget_peak()
            result = timed(*arguments, **named)
            return self._fresh(result) if isinstance(result, Iterator) else result

        return wrapper

    def _fresh(self, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            forget_peak()
            try:
                step = next(steps)
            except StopIteration:
                return
            yield step


def peak_mib() -> float:
    """Largest resident memory of this process since ``forget_peak``."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def forget_peak() -> None:
    """Start the peak anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(assets: int, days: int, send: Any) -> None:
    """Run one size in a fresh home and send what it took."""
    wall = time.perf_counter()
    with CpuShares(STAGES) as shares:
        run = _run(assets, days)
    wall = time.perf_counter() - wall
    send.send(run | {"beside": shares.seconds, "total": (shares.total, wall)})


def _run(assets: int, days: int) -> dict[str, Any]:
    from crossattn_core import data_stages, model_stages
    from crossattn_core.analysis import attribution, evidence, lead_lag
    from crossattn_core.candles.feeds.simulated import SimulatedFeed
    from crossattn_core.line import Line
    from crossattn_core.walk_forward.walk import walk
    from crossattn_pipeline.launch import materialize_stale

    os.environ.pop("DAGSTER_HOME", None)
    experiment, clock = growth_experiment(assets, days), MemoryClock()
    middle = datetime.combine(LAST_DAY - timedelta(days=days - 1 - days // 2), datetime.min.time())
    late = {asset_id: middle for asset_id in experiment.asset_ids[len(experiment.asset_ids) - round(LATE_SHARE * assets) :]}
    rows, listed = SimulatedFeed._rows, SimulatedFeed.listed

    def rows_since(feed: SimulatedFeed, kind: Any, asset: Asset, start: datetime, end: datetime) -> Any:
        return rows(feed, kind, asset, min(max(start, late.get(asset.asset_id, start)), end), end)

    def listed_late(feed: SimulatedFeed, asset: Asset) -> datetime:
        return late.get(asset.asset_id, listed(feed, asset))

    for name, function in (("listed", listed_late), ("_rows", rows_since)):
        setattr(SimulatedFeed, name, function)
    for stage in STAGES:
        module = data_stages if hasattr(data_stages, stage) else model_stages
        setattr(module, stage, clock.timed(stage, getattr(module, stage)))
    for module, name in ((evidence, "pair_evidence"), (attribution, "attribution"), (lead_lag, "lead_lag")):
        setattr(module, name, clock.timed(f"... {name}", getattr(module, name)))
    given: dict[str, Any] = walk.__kwdefaults__ or {}
    given["fit"] = clock.timed("... fit_model", given["fit"])
    with tempfile.TemporaryDirectory() as folder:
        line = Line(experiment, open_home(Path(folder) / "home", experiment))
        materialize_stale(
            line, experiment.period.start, line.last_day, lambda text: print(f"{assets} assets: {text}", flush=True)
        )
        files = [path for path in (Path(folder) / "home").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return {
        "assets": assets,
        "days": days,
        "spent": clock.spent,
        "peak_mib": clock.peak_mib,
        "calls": clock.calls,
        "files": len(files),
        "home_mib": size / 2**20,
    }


def table(runs: list[dict[str, Any]]) -> str:
    """The runs as Markdown: a column of seconds and memory a size, then one of growth a pair of neighbouring sizes.

    Sizes are assets, or days where every run has the same assets.
    """
    by = "assets" if len({run["assets"] for run in runs}) > 1 or len(runs) == 1 else "days"
    runs = sorted(runs, key=lambda run: run[by])
    names = list(dict.fromkeys(stage for run in runs for stage in run["spent"] if stage != EVENT_LOG))
    seconds = [_seconds(run) for run in runs]
    beside = [row for row in (*BESIDE_STAGES, NOT_DIVIDED) if any(row in of for of in seconds)]
    sizes = [run[by] for run in runs]
    heads = [f"{size} {by}: CPU s (peak GB)" for size in sizes]
    heads += [f"growth {small}-{large}" for small, large in pairwise(sizes)]
    lines = [f"| stage | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name in [*names, *beside, "all"]:
        cells = []
        for run, of in zip(runs, seconds, strict=True):
            peak = max(run["peak_mib"].values()) if name == "all" else run["peak_mib"].get(name)
            known = name in of or name in names
            size = "" if peak is None or name in beside else f" ({peak / 1024:.2f})"
            cells.append(f"{of.get(name, 0.0):.1f}{size}" if known else "-")
        for k in range(1, len(runs)):
            before, after = seconds[k - 1].get(name, 0.0), seconds[k].get(name, 0.0)
            known = before > 0.05 and after > 0.05
            cells.append(f"{np.log(after / before) / np.log(sizes[k] / sizes[k - 1]):.2f}" if known else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, value in (
        (
            "Dagster's own share of CPU",
            lambda run, of: f"{sum(of[row] for row in DAGSTER) / of['all']:.1%}" if "beside" in run else "-",
        ),
        ("share of CPU beside the stages", lambda run, of: _share(of, beside)),
        ("wall s", lambda run, of: f"{run['total'][1]:.0f}"),
        ("home MB (files)", lambda run, of: f"{run['home_mib']:.0f} ({run['files']:,})"),
        ("permutation tests", lambda run, of: str(run["calls"].get("... lead_lag", 0))),
        ("fits", lambda run, of: str(run["calls"].get("... fit_model", 0))),
    ):
        cells = [value(run, of) for run, of in zip(runs, seconds, strict=True)] + [""] * (len(runs) - 1)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(of: dict[str, float], rows: Iterable[str]) -> str:
    return f"{sum(of.get(row, 0.0) for row in rows) / of['all']:.1%}"


def _seconds(run: dict[str, Any]) -> dict[str, float]:
    """CPU seconds by row of the table; a name that begins with dots is inside a stage and is not counted again."""
    of = {name: spent[0] for name, spent in run["spent"].items()} | {"all": run["total"][0]}
    if "beside" in run:
        return of | run["beside"]
    inside = sum(cpu for name, cpu in of.items() if name != "all" and not name.startswith("..."))
    return of | {NOT_DIVIDED: of["all"] - inside}


def main() -> None:
    """Run the sizes that were not run before and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", nargs="*", type=int, default=[10, 30, 100])
    parser.add_argument("--days", nargs="*", type=int, default=[DAYS], help="several: for one size of the universe")
    parser.add_argument("--runs", type=Path, default=Path("growth_runs.jsonl"), help="file of runs, read and appended to")
    parser.add_argument("--stored", action="store_true", help="run nothing: make the table of what was run so far")
    parser.add_argument("--out", type=Path, help="else results_line_growth.md, or results_line_years.md of several --days")
    arguments = parser.parse_args()
    stored = [json.loads(line) for line in arguments.runs.read_text().splitlines()] if arguments.runs.is_file() else []
    several = len(arguments.days) > 1
    if several and len(arguments.assets) > 1:
        parser.error("several --days go with one number of --assets")
    for assets, days in [] if arguments.stored else sorted(product(arguments.assets, arguments.days)):
        if any((run["assets"], run["days"]) == (assets, days) for run in stored):
            continue
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(assets, days, send))
        process.start()
        send.close()
        stored.append(receive.recv())
        process.join()
        with arguments.runs.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(stored[-1]) + "\n")
    runs = [run for run in stored if run["days"] in arguments.days and (not several or run["assets"] in arguments.assets)]
    text = table(runs)
    print(text)
    what = f"{arguments.assets[0]} assets" if several else f"{arguments.days[0]} days of hours"
    out = arguments.out or Path(__file__).with_name("results_line_years.md" if several else "results_line_growth.md")
    out.write_text(f"{what}, one thread.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
