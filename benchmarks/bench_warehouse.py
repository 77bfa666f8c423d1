"""The warehouse measured: features against pandas and polars, one more day at any age, panel open, lineage.

    python -m benchmarks.bench_warehouse --symbols 100 --hours 43800

Contestants take turns within one run and each round gives a ratio; the median of those survives a busy machine, where
wall times alone say little. DuckDB, Arrow and polars get two threads each. polars is compared with where it is installed
(pip install polars); nothing else here needs it.
"""

import argparse
import importlib.util
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.warehouse_peers import pandas_features, polars_features
from crossattn_core.days import bounds
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.warehouse import models as sql_models
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.models import Project, load_project
from crossattn_core.warehouse.run import build, prepare, python_rows, set_range
from crossattn_core.warehouse.sources import asset_rows, create_sources, session_rows

STORED = ("aligned.bars", "features.bar", "features.trailing")
THREADS = 2
os.environ["POLARS_MAX_THREADS"] = str(THREADS)  # read when polars is first imported
pa.set_cpu_count(THREADS)


def load_afresh() -> Project:
    """The project from its files, though this process may have bound them before."""
    sql_models._loaded.cache_clear()
    return load_project()


def measured(task: Callable[[], Any], repeats: int = 1) -> tuple[float, float, Any]:
    """(wall seconds, CPU seconds, result) of the best of ``repeats`` runs."""
    best = (float("inf"), float("inf"))
    result = None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = task()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return (*best, result)


def tell(what: str, wall: float, cpu: float, note: str = "") -> None:
    print(f"{what:<52} {wall:9.3f} {cpu:9.3f}  {note}", flush=True)


def universe(symbols: int, first: date, last: date) -> Experiment:
    """So many perpetuals over so many days."""
    assets = [{"venue": "bybit", "symbol": f"S{number:03d}USDT"} for number in range(symbols)]
    period = {"start": first, "end": last}
    return load_experiment(overrides={"assets": assets, "period": period, "feed": {"simulated": {"leads": []}}})


def candles_of(experiment: Experiment, hours: int, first: date) -> pa.Table:
    """Random walks, every hour of every asset, in time order."""
    rng = np.random.default_rng(0)
    symbols = len(experiment.assets)
    close_TN = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, (hours, symbols)), axis=0))
    open_TN = np.vstack([np.full((1, symbols), 100.0), close_TN[:-1]])
    clock_T = np.datetime64(first, "us") + np.arange(hours + 1) * np.timedelta64(1, "h")
    closed = np.repeat(clock_T[1:], symbols)
    return pa.table(
        {
            "asset_id": pa.array(np.tile(np.array(experiment.asset_ids, dtype=object), hours), pa.string()),
            "opened_at": np.repeat(clock_T[:-1], symbols),
            "closed_at": closed,
            "traded_row": closed,
            "known_row": closed,
            "open": open_TN.ravel(),
            "high": (np.maximum(open_TN, close_TN) * 1.001).ravel(),
            "low": (np.minimum(open_TN, close_TN) * 0.999).ravel(),
            "close": close_TN.ravel(),
            "volume": rng.gamma(2.0, 10.0, hours * symbols),
            "turnover": np.full(hours * symbols, np.nan),
            "fetched_at": closed,
        }
    )


def funding_of(candles: pa.Table) -> pa.Table:
    """A settlement every eight hours, for every asset."""
    settled = candles.filter(pa.array(candles["closed_at"].to_numpy().astype("datetime64[h]").astype(int) % 8 == 0))
    rates = np.random.default_rng(1).normal(1e-4, 1e-4, settled.num_rows)
    columns = {"asset_id": settled["asset_id"], "settled_at": settled["closed_at"], "fetched_at": settled["closed_at"]}
    return pa.table(columns | {"rate": rates})


@contextmanager
def filled(
    folder: Path, experiment: Experiment, candles: pa.Table, funding: pa.Table, first: date, last: date
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse whose raw tables hold the candles."""
    with connect(folder / "warehouse.duckdb") as connection:
        create_sources(connection)
        tables = {
            "raw.candles": candles,
            "raw.funding": funding,
            "raw.assets": asset_rows(experiment),
            "raw.sessions": session_rows(["24/7"], first, last),
        }
        for name, rows in tables.items():
            connection.register("incoming", rows)
            connection.execute(f"insert into {name} by name select * from incoming")
            connection.unregister("incoming")
        connection.execute("checkpoint")
        yield connection


class Contest:
    """Contestants take turns, round after round, so that a noisy neighbour hits them alike."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._seconds: dict[str, list[tuple[float, float]]] = {}

    def run(self, contestants: dict[str, Callable[[], Any]]) -> dict[str, Any]:
        """Time every contestant in every round; returns each one's first result."""
        results: dict[str, Any] = {}
        for _ in range(self._rounds):
            for name, task in contestants.items():
                wall, cpu, made = measured(task)
                results.setdefault(name, made)
                del made
                self._seconds.setdefault(name, []).append((wall, cpu))
        return results

    def tell(self, own: str) -> None:
        """Medians of each, and the medians over rounds of ``own`` over each other."""
        for name, seconds in self._seconds.items():
            wall, cpu = np.median(seconds, axis=0)
            note = ""
            if name != own:
                ratio_wall, ratio_cpu = np.median(np.array(self._seconds[own]) / np.array(seconds), axis=0)
                note = f"ours / theirs, median of {self._rounds}: wall {ratio_wall:.2f}, CPU {ratio_cpu:.2f}"
            tell(name, wall, cpu, note)


def own_features(connection: duckdb.DuckDBPyConnection, project: Project, first: date, last: date) -> dict[str, pa.Table]:
    """Both feature models over everything, from the raw tables into memory: what the others do, from further away."""
    start, end = bounds(first)[0], bounds(last)[1]
    set_range(connection, start, end, start)
    in_sql = project.model("features.bar")
    values = {"start": start, "end": end, "warm_start": start}
    return {
        "features.bar": connection.sql(in_sql.select_text, params=values).to_arrow_table(),
        "features.trailing": python_rows(connection, project.model("features.trailing"), start, end),
    }


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--symbols", type=int, default=100)
    options.add_argument("--hours", type=int, default=43_800, help="of history; a month is compared with it")
    options.add_argument("--rounds", type=int, default=5, help="turns that each contestant takes")
    chosen = options.parse_args()
    first = date(2020, 1, 1)
    last = first + timedelta(days=chosen.hours // 24 - 1)
    experiment = universe(chosen.symbols, first, last)
    project = load_project()
    print(f"{chosen.symbols} symbols x {chosen.hours} hours = {chosen.symbols * chosen.hours:,} bars, {THREADS} threads")
    print(f"{'':<52} {'wall s':>9} {'CPU s':>9}")
    tell("load, bind and trace the project", *measured(load_afresh, 3)[:2], f"{len(project.models)} models")
    with tempfile.TemporaryDirectory() as folder:
        candles = candles_of(experiment, chosen.hours, first)
        funding = funding_of(candles)
        whole_history(Path(folder), experiment, candles, funding, first, last)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak memory of build, export and open: {before:.2f} GB, the raw candles in memory included", flush=True)
        compare_features(Path(folder), experiment, candles, funding, first, last, chosen.rounds)


def compare_features(
    folder: Path, experiment: Experiment, candles: pa.Table, funding: pa.Table, first: date, last: date, rounds: int
) -> None:
    """Every feature three ways, in turns."""
    project = load_project()
    with filled(folder / "compare", experiment, candles, funding, first, last) as connection:
        connection.execute(f"set threads = {THREADS}")
        prepare(connection, project, project.model("features.panel_rows"))
        candle_frame = candles.to_pandas().drop(columns=["traded_row", "known_row", "turnover", "fetched_at"])
        funding_frame = funding.to_pandas().drop(columns="fetched_at")
        for frame in (candle_frame, funding_frame):
            frame["asset_id"] = pd.Categorical(frame["asset_id"], categories=list(experiment.asset_ids))
        own = "features.bar and features.trailing"
        contestants: dict[str, Callable[[], Any]] = {
            own: lambda: own_features(connection, project, first, last),
            "the same, pandas groupby": lambda: pandas_features(candle_frame, funding_frame),
        }
        if importlib.util.find_spec("polars"):
            import polars as pl

            keys = pl.Enum(list(experiment.asset_ids))
            frames = [pl.from_arrow(table).with_columns(pl.col("asset_id").cast(keys)) for table in (candles, funding)]
            contestants["the same, polars"] = lambda: polars_features(*frames)
        else:
            print("polars: not installed")
        contest = Contest(rounds)
        results = contest.run(contestants)
        contest.tell(own)
        agree(results, own)


def agree(results: dict[str, Any], own: str) -> None:
    """Refuse a contest in which the contestants made different features."""
    sorted_own = [table.to_pandas().sort_values(["position", "as_of"]) for table in results[own].values()]
    for name, theirs in results.items():
        if name == own:
            continue
        for column in theirs.columns:
            mine = next(frame[column].to_numpy() for frame in sorted_own if column in frame)
            other = np.asarray(theirs[column], dtype=np.float32)
            started = ~np.isnan(mine)  # on an asset's first bar others say 0 where we say nothing
            if not np.allclose(mine[started], other[started], rtol=1e-3, atol=1e-5):
                raise SystemExit(f"{name}: {column} differs from ours")
    print("all contestants made the same values", flush=True)


def whole_history(folder: Path, experiment: Experiment, candles: pa.Table, funding: pa.Table, first: date, last: date) -> None:
    """Full builds, one more day at one month's age and at full age in turns, export and open."""
    project = load_project()
    month_end = first + timedelta(days=29)
    ends = {"a month": month_end, "full": last}
    with (
        filled(
            folder / "month", experiment, candles.slice(0, 30 * 24 * len(experiment.assets)), funding, first, month_end
        ) as month,
        filled(folder / "full", experiment, candles, funding, first, last) as full,
    ):
        for age, connection in (("a month", month), ("full", full)):
            connection.execute(f"set threads = {THREADS}")
            for name in STORED:
                wall, cpu, _ = measured(partial(build, connection, project, name, first, ends[age]))
                if age == "full":
                    tell(f"build and store {name}, all of history", wall, cpu)
        for name in STORED:
            contest = Contest(11)
            contest.run(
                {
                    f"one more day of {name} at {age} age": partial(build, connection, project, name, ends[age], ends[age])
                    for age, connection in (("full", full), ("a month", month))
                }
            )
            contest.tell(f"one more day of {name} at full age")
        panel_of(full, folder, experiment, first, last)


def panel_of(connection: duckdb.DuckDBPyConnection, folder: Path, experiment: Experiment, first: date, last: date) -> None:
    """Export and open; a process that opens the panel for the first time maps what the export left."""
    build(connection, load_project(), "features.panel_rows", first, last)
    home, end = Home(folder), last - timedelta(days=1)
    tell(f"export {(end - first).days + 1} days", *measured(lambda: export_days(connection, home, experiment, first, end))[:2])
    wall, cpu, panel = measured(lambda: open_panel(home, experiment))
    tell("open the panel for the first time", wall, cpu, f"{panel.feature_TNF.shape}")
    tell("open the panel again", *measured(lambda: open_panel(home, experiment), 5)[:2])
    tell("export one more day", *measured(lambda: export_days(connection, home, experiment, last, last))[:2])
    tell("open the panel, one day appended", *measured(lambda: open_panel(home, experiment))[:2])


if __name__ == "__main__":
    main()
