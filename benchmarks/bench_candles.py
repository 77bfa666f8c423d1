"""How fast candles come in and out, and how many requests that takes.

    python -m benchmarks.bench_candles            a year of ten symbols against a server on this machine
    python -m benchmarks.bench_candles --ccxt PYTHON     next to a plain ccxt loop under a Python that has ccxt

The server runs in a process of its own, so CPU seconds are the client's alone. Wall seconds depend on the machine;
requests and their ratio to the least possible do not.
"""

import argparse
import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import requests

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import Experiment, FeedSettings, Period, SimulatedMarket
from crossattn_core.universe import Asset
from tests.servers.bybit import TRANSIENT, BybitServer, Listing

SYMBOLS = tuple(f"{name}USDT" for name in ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "LINK", "DOT", "AVAX"))
ASSETS = tuple(Asset(venue="bybit", symbol=symbol) for symbol in SYMBOLS)
FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
START_MS, END_MS = 1_704_067_200_000, 1_735_689_600_000
HOURS = 24 * 366
LEAST = -(-HOURS // 1000) * len(SYMBOLS)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ccxt", metavar="PYTHON", help="also read the server with a plain ccxt loop under this Python")
    arguments = parser.parse_args()
    print(f"{'what':<46}{'rows':>9}{'wall s':>9}{'CPU s':>8}{'rows/s':>10}{'requests':>10}{'/ least':>9}")
    _simulated()
    with _server(share=0.0) as (url, count):
        _measured("a plain loop, one request at a time, no storing", lambda: _plain_loop(url), count)
    with _server(share=0.0) as (url, count):
        lake = Lake(Path(tempfile.mkdtemp()), "api")
        _measured("crossattn: fetched, validated, stored by the day", lambda: _ingest(url, lake), count)
        _measured("crossattn: the same again", lambda: _ingest(url, lake), count)
    with _server(share=0.2) as (url, count):
        faulty = Lake(Path(tempfile.mkdtemp()), "api")
        _measured("crossattn: a fifth of the requests fail", lambda: _ingest(url, faulty), count)
    _measured("read a year of ten symbols, first time", lambda: _read(lake, FIRST, LAST))
    _measured("read a year of ten symbols, month files there", lambda: _read(lake, FIRST, LAST))
    _measured("read one day of ten symbols", lambda: _read(lake, date(2024, 6, 3), date(2024, 6, 3)))
    if arguments.ccxt:
        with _server(share=0.0) as (url, count):
            _ccxt(arguments.ccxt, url, count)


def _measured(what: str, run: Callable[[], int], count: Callable[[], int] | None = None) -> None:
    before = count() if count else 0
    wall, cpu = time.perf_counter(), time.process_time()
    rows = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    _row(what, rows, wall, cpu, count() - before if count else None)


def _row(what: str, rows: int, wall: float, cpu: float, sent: int | None) -> None:
    requests_sent = f"{sent:>10}{sent / LEAST:>9.2f}" if sent is not None else ""
    print(f"{what:<46}{rows:>9}{wall:>9.2f}{cpu:>8.2f}{rows / wall:>10.0f}{requests_sent}", flush=True)


def _simulated() -> None:
    experiment = Experiment()
    first, last = experiment.period.start, experiment.period.end or experiment.period.start

    def run() -> int:
        feed = SimulatedFeed(experiment.feed.simulated, experiment.assets, experiment.period)
        days = ingest(
            "candles", feed, Lake(Path(tempfile.mkdtemp()), "simulated"), experiment.assets, first, last, settings=experiment.feed
        )
        return sum(day.rows for day in days)

    _measured("simulated: made, validated, stored by the day", run)


def _ingest(url: str, lake: Lake) -> int:
    settings = FeedSettings(kind="api", bybit_url=url, requests_per_second=120, max_attempts=20)
    feed = BybitFeed(settings, backoff=Backoff(sleep=lambda seconds: time.sleep(min(seconds, 0.01))))
    return sum(day.rows for day in ingest("candles", feed, lake, ASSETS, FIRST, LAST, settings=settings))


def _plain_loop(url: str) -> int:
    """What a script does: page after page into a list."""
    rows: list[list[str]] = []
    session = requests.Session()
    for symbol in SYMBOLS:
        start = START_MS
        while start < END_MS:
            end = min(start + 999 * 3_600_000, END_MS - 3_600_000)
            query = {"category": "linear", "symbol": symbol, "interval": "60", "start": start, "end": end, "limit": 1000}
            rows.extend(session.get(f"{url}/v5/market/kline", params=query, timeout=10).json()["result"]["list"])
            start = end + 3_600_000
    return len(rows)


def _ccxt(python: str, url: str, count: Callable[[], int]) -> None:
    """The same server read by ``ccxt_loop.py``, in a process of its own that does its own timing."""
    before = count()
    loop = Path(__file__).with_name("ccxt_loop.py")
    command = [python, str(loop), url, str(START_MS), str(END_MS), *SYMBOLS]
    rows, wall, cpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    _row("ccxt: fetch_ohlcv in a loop, no storing", int(rows), float(wall), float(cpu), count() - before)


def _read(lake: Lake, first: date, last: date) -> int:
    return lake.read_candles(None, first, last).num_rows


@contextmanager
def _server(share: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """URL of a Bybit server in another process, and a count of the kline requests that it saw."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(there, share), daemon=True)
    process.start()

    def count() -> int:
        here.send("count")
        return here.recv()

    try:
        yield here.recv(), count
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, share: float) -> None:
    period = Period(start=FIRST, end=LAST)
    feed = SimulatedFeed(SimulatedMarket(missing_share=0), ASSETS, period, lambda: datetime(2025, 6, 1, tzinfo=UTC))
    span = (datetime(2024, 1, 1), datetime(2025, 1, 1))
    listings = {("linear", asset.symbol): Listing(feed.candles(asset, *span)) for asset in ASSETS}
    with BybitServer(listings, lambda: datetime(2025, 6, 1), share=share, kinds=TRANSIENT) as server:
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(len(server.klines_asked()))


if __name__ == "__main__":
    main()
