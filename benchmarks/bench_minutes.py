"""One more day of minutes, after a month of them and after a year: CPU seconds from candles to panel, and bytes a day.

    python -m benchmarks.bench_minutes [--assets 8] [--days 365]

The peer is the same day of the same market in a home that holds a month. Both homes are filled by simulated candles of one
minute; then three more days are made one by one, as a daily schedule does: fetched, judged, stored, built, tested, exported. The
first of them warms what is loaded once and is not counted. Prints a table; wall times are those of the machine, the ratio is not.
"""

import argparse
import os
import tempfile
import time
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from crossattn_core import data_stages
from crossattn_core.candles.feeds.feed import VenueFeeds
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.panel.cache import day_path
from tests.small import past

FIRST = date(2024, 1, 1)
TABLES = ("aligned.bars", "features.trailing", "features.bar")
MORE = 3
DAYS_AT_ONCE = 30


def minutes(assets: int, days: int) -> Experiment:
    """Perpetuals at one minute, as many as there are."""
    named = [{"venue": "bybit", "symbol": f"COIN{n}USDT"} for n in range(assets)]
    period = {"start": FIRST, "end": FIRST + timedelta(days=days - 1)}
    return load_experiment(
        overrides={"grid": {"bar": "1m"}, "assets": named, "period": period, "feed": {"simulated": {"leads": []}}}
    )


class OneFeed(Line):
    """A line whose simulated market is made once: what the source takes to make up its candles is not measured."""

    @cached_property
    def opened(self) -> VenueFeeds:
        """The feed of every call, whose clock stands at the end of the period."""
        experiment = self.experiment
        return SimulatedFeed(experiment.feed.simulated, experiment.assets, experiment.period, None, experiment.candle_grid)

    def feed(self) -> VenueFeeds:
        return self.opened


def step(line: Line, first: date, last: date) -> None:
    """Candles to panel for the days first..last."""
    data_stages.ingest_candles(line, "bybit", first, last)
    data_stages.ingest_funding(line, "bybit", first, last)
    for name in TABLES:
        data_stages.build_table(line, name, first, last)
    data_stages.export_windows(line, first, last)


def size_of(folder: Path, pattern: str) -> int:
    """Bytes of the files that match."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def measure(assets: int, days: int) -> dict[str, float]:
    """Fill a home with ``days`` days, then CPU and wall seconds of one more, and what a day takes on disk."""
    experiment = minutes(assets, days + MORE)
    with tempfile.TemporaryDirectory() as folder:
        line = OneFeed(experiment, open_home(Path(folder) / "home", experiment), clock=past)
        started = time.process_time()
        for low in range(0, days, DAYS_AT_ONCE):
            step(line, FIRST + timedelta(days=low), FIRST + timedelta(days=min(low + DAYS_AT_ONCE, days) - 1))
        filled = time.process_time() - started
        taken = []
        for n in range(MORE):
            day = FIRST + timedelta(days=days + n)
            cpu, wall = time.process_time(), time.perf_counter()
            step(line, day, day)
            taken.append((time.process_time() - cpu, time.perf_counter() - wall))
        cpu, wall = (sum(each[k] for each in taken[1:]) / (MORE - 1) for k in (0, 1))
        return {
            "days": days,
            "fill": filled,
            "cpu": cpu,
            "wall": wall,
            "lake": size_of(line.home.lake, f"{FIRST}.parquet") / assets,
            "panel": day_path(line.home, FIRST).stat().st_size / assets,
            "warehouse": line.home.warehouse.stat().st_size / assets / (days + MORE),
        }


def main() -> None:
    """Measure a month and the longer history, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=8)
    parser.add_argument("--days", type=int, default=365)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    month, year = measure(chosen.assets, 30), measure(chosen.assets, chosen.days)
    ratio = year["cpu"] / month["cpu"]
    print(f"**{chosen.assets} assets at one minute, candles to panel**; {ratio:.2f} x the CPU of a month's next day.")
    print()
    print(
        "| history, days | to fill it, CPU s | one more day, CPU s | wall s | lake, KB an asset-day | panel, KB | warehouse, KB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for each in (month, year):
        sizes = " | ".join(f"{each[name] / 1024:.0f}" for name in ("lake", "panel", "warehouse"))
        print(f"| {each['days']:.0f} | {each['fill']:.1f} | {each['cpu']:.2f} | {each['wall']:.2f} | {sizes} |")


if __name__ == "__main__":
    main()
