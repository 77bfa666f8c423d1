"""The warehouse measured: features against pandas and polars, one more day at any age, panel open, lineage.

    python benchmarks/bench_warehouse.py --symbols 100 --hours 43800

Every ratio is taken within one run. Wall times of a shared machine say little; CPU seconds and ratios say more.
polars is compared with where it is installed; nothing else here needs it.
"""

import argparse
import importlib.util
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.panel.calendar import session_rows
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.warehouse.models import Model, load_project
from crossattn_core.warehouse.run import build, connect, create_sources, prepare, set_range
from crossattn_core.warehouse.sources import asset_rows

STORED = ("aligned.bars", "features.window", "features.recursive")


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
            "traded_hour": closed,
            "known_hour": closed,
            "open": open_TN.ravel(),
            "high": (np.maximum(open_TN, close_TN) * 1.001).ravel(),
            "low": (np.minimum(open_TN, close_TN) * 0.999).ravel(),
            "close": close_TN.ravel(),
            "volume": rng.gamma(2.0, 10.0, hours * symbols),
            "turnover": np.full(hours * symbols, np.nan),
            "fetched_at": closed,
        }
    )


@contextmanager
def filled(
    folder: Path, experiment: Experiment, candles: pa.Table, first: date, last: date
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse whose raw tables hold the candles."""
    with connect(folder / "warehouse.duckdb") as connection:
        create_sources(connection)
        tables = {
            "raw.candles": candles,
            "raw.assets": asset_rows(experiment),
            "raw.sessions": session_rows(["24/7"], first, last),
        }
        for name, rows in tables.items():
            connection.register("incoming", rows)
            connection.execute(f"insert into {name} by name select * from incoming")
            connection.unregister("incoming")
        connection.execute("checkpoint")
        yield connection


def pandas_features(candles: pd.DataFrame) -> pd.DataFrame:
    """The features of ``features.window``, by groupby."""
    rows = candles.sort_values(["asset_id", "closed_at"], kind="stable", ignore_index=True)
    key = rows["asset_id"]
    grouped = rows.groupby(key, observed=True, sort=False)
    previous_close, previous_closed_at = grouped["close"].shift(), grouped["closed_at"].shift()
    pause = rows["opened_at"] > previous_closed_at

    def rolling(values: pd.Series, width: int) -> Any:
        return values.groupby(key, observed=True, sort=False).rolling(width)

    log_return = np.log(rows["close"] / previous_close.where(~pause, rows["open"])).where(previous_close.notna())
    change = rows["close"] - previous_close
    gains, losses = (rolling(move, 14).sum().to_numpy() for move in (change.clip(lower=0), (-change).clip(lower=0)))
    hour = rows["closed_at"].dt.day_of_week * 24 + rows["closed_at"].dt.hour
    return pd.DataFrame(
        {
            "log_return": log_return,
            "gap_return": np.where(pause, np.log(rows["open"] / previous_close), 0.0),
            "intraday_return": rows["close"] / rows["open"] - 1,
            "range_share": (rows["high"] - rows["low"]) / rows["close"],
            "relative_volume": rows["volume"] / rolling(rows["volume"], 20).mean().to_numpy(),
            "volatility": rolling(log_return, 20).std().to_numpy(),
            "rsi_14": 100 * gains / (gains + losses),
            "pause_hours": (rows["opened_at"] - previous_closed_at).dt.total_seconds() / 3600,
            "hour_of_week": hour,
            "hour_of_week_sin": np.sin(2 * np.pi * hour / 168),
            "hour_of_week_cos": np.cos(2 * np.pi * hour / 168),
        }
    ).astype("float32")


def polars_features(candles: Any) -> Any:
    """The same in polars, eager, both cores."""
    import polars as pl

    close, volume = pl.col("close"), pl.col("volume")
    rows = candles.sort("asset_id", "closed_at").with_columns(
        previous_close=close.shift().over("asset_id"), previous_closed_at=pl.col("closed_at").shift().over("asset_id")
    )
    pause = pl.col("opened_at") > pl.col("previous_closed_at")
    rows = rows.with_columns(
        log_return=pl.when(pause).then(close / pl.col("open")).otherwise(close / pl.col("previous_close")).log(),
        gap_return=pl.when(pause).then((pl.col("open") / pl.col("previous_close")).log()).otherwise(0.0),
        change=close - pl.col("previous_close"),
        hour=(pl.col("closed_at").dt.weekday().cast(pl.Int32) - 1) * 24 + pl.col("closed_at").dt.hour().cast(pl.Int32),
    )
    gains, losses = (pl.col("change") * sign for sign in (1, -1))
    made = rows.select(
        "log_return",
        "gap_return",
        intraday_return=close / pl.col("open") - 1,
        range_share=(pl.col("high") - pl.col("low")) / close,
        relative_volume=volume / volume.rolling_mean(20).over("asset_id"),
        volatility=pl.col("log_return").rolling_std(20).over("asset_id"),
        gains=gains.clip(lower_bound=0).rolling_sum(14).over("asset_id"),
        losses=losses.clip(lower_bound=0).rolling_sum(14).over("asset_id"),
        pause_hours=(pl.col("opened_at") - pl.col("previous_closed_at")).dt.total_seconds() / 3600,
        hour_of_week=pl.col("hour"),
        hour_of_week_sin=(2 * np.pi * pl.col("hour") / 168).sin(),
        hour_of_week_cos=(2 * np.pi * pl.col("hour") / 168).cos(),
    )
    made = made.with_columns(rsi_14=100 * pl.col("gains") / (pl.col("gains") + pl.col("losses"))).drop("gains", "losses")
    return made.select(pl.all().cast(pl.Float32))


def sql_features(connection: duckdb.DuckDBPyConnection, model: Model, first: date, last: date) -> None:
    """The model's select over everything, into a temporary table: what the others do, and no more."""
    start = datetime(first.year, first.month, first.day)
    set_range(connection, start, datetime(last.year, last.month, last.day) + timedelta(days=1), start)
    connection.execute(f"create or replace temp table wide as from ({model.select_text}\n)")


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--symbols", type=int, default=100)
    options.add_argument("--hours", type=int, default=43_800, help="of history; a month is compared with it")
    options.add_argument("--export-days", type=int, default=365, help="days exported to measure the panel")
    chosen = options.parse_args()
    first = date(2020, 1, 1)
    last = first + timedelta(days=chosen.hours // 24 - 1)
    experiment = universe(chosen.symbols, first, last)
    project = load_project()
    print(f"{chosen.symbols} symbols x {chosen.hours} hours = {chosen.symbols * chosen.hours:,} bars, 2 threads")
    print(f"{'':<52} {'wall s':>9} {'CPU s':>9}")
    tell("load, bind and trace the project", *measured(load_project, 3)[:2], f"{len(project.models)} models")
    with tempfile.TemporaryDirectory() as folder:
        candles = candles_of(experiment, chosen.hours, first)
        compare_features(Path(folder), experiment, candles, first, last)
        whole_history(Path(folder), experiment, candles, first, last, chosen.export_days)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB (benchmark's own copies included)")


def compare_features(folder: Path, experiment: Experiment, candles: pa.Table, first: date, last: date) -> None:
    """The finite-window features three ways."""
    project = load_project()
    with filled(folder / "compare", experiment, candles, first, last) as connection:
        connection.execute("set threads = 2")
        model = project.model("features.window")
        prepare(connection, project, model)
        own_wall, own_cpu, _ = measured(lambda: sql_features(connection, model, first, last), 2)
        tell("features.window, SQL into a temporary table", own_wall, own_cpu)
    frame = candles.to_pandas()
    frame["asset_id"] = frame["asset_id"].astype("category")
    wall, cpu, _ = measured(lambda: pandas_features(frame), 2)
    tell("the same, pandas groupby", wall, cpu, f"SQL / pandas: wall {own_wall / wall:.2f}, CPU {own_cpu / cpu:.2f}")
    if importlib.util.find_spec("polars"):
        import polars as pl

        table = pl.from_arrow(candles)
        wall, cpu, _ = measured(lambda: polars_features(table), 2)
        tell("the same, polars", wall, cpu, f"SQL / polars: wall {own_wall / wall:.2f}, CPU {own_cpu / cpu:.2f}")
    else:
        print("the same, polars: not installed")


def whole_history(folder: Path, experiment: Experiment, candles: pa.Table, first: date, last: date, export: int) -> None:
    """Full builds, one more day at one month and at full age, export and open."""
    project = load_project()
    month_end = first + timedelta(days=29)
    month = candles.slice(0, 30 * 24 * len(experiment.assets))
    days: dict[str, tuple[float, float]] = {}
    for age, rows, end in (("a month", month, month_end), ("full", candles, last)):
        with filled(folder / age, experiment, rows, first, end) as connection:
            connection.execute("set threads = 2")
            for name in STORED:
                wall, cpu, _ = measured(partial(build, connection, project, name, first, end))
                if age == "full":
                    tell(f"build {name}, all of history", wall, cpu)
            for name in STORED:
                wall, cpu, _ = measured(partial(build, connection, project, name, end, end), 5)
                before = days.get(name)
                note = f"{wall / before[0]:.2f} x a month's" if before else ""
                tell(f"one more day of {name} at {age} age", wall, cpu, note)
                days[name] = (wall, cpu)
            if age == "full":
                panel_of(connection, folder, experiment, first, last, export)


def panel_of(
    connection: duckdb.DuckDBPyConnection, folder: Path, experiment: Experiment, first: date, last: date, days: int
) -> None:
    """Export and open."""
    build(connection, load_project(), "features.panel_rows", first, last)
    home, end = Home(folder), min(first + timedelta(days=days - 1), last)
    tell(f"export {days} days", *measured(lambda: export_days(connection, home, experiment, first, end))[:2])
    tell("open the panel, cache made", *measured(lambda: open_panel(home, experiment))[:2])
    wall, cpu, panel = measured(lambda: open_panel(home, experiment), 5)
    tell("open the panel, cache warm", wall, cpu, f"{panel.feature_TNF.shape}")
    following = end + timedelta(days=1)
    if following <= last:
        tell("export one more day", *measured(lambda: export_days(connection, home, experiment, following, following))[:2])
        tell("open the panel, one day appended", *measured(lambda: open_panel(home, experiment))[:2])


if __name__ == "__main__":
    main()
