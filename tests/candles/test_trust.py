"""The lake can be trusted: through faults, kills and two writers at once, it ends as the source has it."""

import json
import random
import signal
import time
from collections import Counter
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from crossattn_core.candles.feeds.api import ApiFeeds
from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import days_between, to_aware
from crossattn_core.experiment import FeedSettings, Period, SimulatedMarket
from crossattn_core.universe import Asset
from tests.candles.worker import PATIENT, hurried, ingest_candles, processes
from tests.recorded import RECORDED
from tests.servers.bybit import TRANSIENT, BybitServer, Listing
from tests.servers.yahoo import YahooServer

FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
NOW = datetime(2025, 2, 1)
VALUES = ["opened_at", "closed_at", "open", "high", "low", "close", "volume", "turnover"]
NAMES = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "LINK", "DOT", "AVAX")
COINS = tuple(Asset(venue="bybit", symbol=f"{name}USDT") for name in NAMES)
STOCKS = tuple(Asset(venue="yahoo", symbol=name) for name in ("AAPL", "NVDA"))


def candles_of(assets: tuple[Asset, ...]) -> dict[Asset, pd.DataFrame]:
    """Recorded candles where there are some, simulated ones elsewhere; turnover as traded at the mean price."""
    start, end = datetime(2023, 12, 1), datetime(2025, 1, 15)
    simulated = SimulatedFeed(SimulatedMarket(missing_share=0), assets, Period(start=start.date(), end=end.date()))
    recorded = FilesFeed(RECORDED, lambda: to_aware(NOW))
    tables = {}
    for asset in assets:
        folder = RECORDED / f"{asset.venue}_1h"
        source = recorded if (folder / f"{asset.symbol}.parquet").is_file() else simulated
        table = source.candles(asset, start, end)
        tables[asset] = table.assign(turnover=table["volume"] * table[["open", "high", "low", "close"]].mean(axis=1))
    return tables


def bybit_server(assets: tuple[Asset, ...], **faults) -> BybitServer:
    listings = {(asset.category, asset.symbol): Listing(table) for asset, table in candles_of(assets).items()}
    return BybitServer(listings, lambda: NOW, **faults)


def assert_as_served(lake: Lake, tables: dict[Asset, pd.DataFrame], first: date, last: date) -> None:
    stored = lake.read_candles(None, first, last).to_pandas()
    for asset, table in tables.items():
        inside = (table["closed_at"] > pd.Timestamp(first)) & (table["closed_at"] <= pd.Timestamp(last) + pd.Timedelta(days=1))
        own = stored[stored["asset_id"] == asset.asset_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[VALUES], table[inside].reset_index(drop=True)[VALUES], check_exact=True)
    assert lake.verify() == []


def test_a_year_of_ten_symbols_survives_faults_in_a_fifth_of_the_requests(tmp_path):
    tables = candles_of(COINS)
    with bybit_server(COINS, share=0.2, kinds=TRANSIENT, seed=3) as server:
        feed = BybitFeed(FeedSettings(bybit_url=server.url, **PATIENT), backoff=hurried())
        lake = Lake(tmp_path, "api")
        days = ingest("candles", feed, lake, COINS, FIRST, LAST, settings=FeedSettings())
        faults = sum(asked.fault != "" for asked in server.asked)
        good = Counter(ask for ask, asked in zip(_kline_requests(server), _klines(server), strict=True) if not asked.fault)
        assert faults > 10
        assert len(good) == 90
        assert set(good.values()) == {1}
    assert all(day.complete and day.gaps == 0 and day.quarantined == 0 for day in days)
    assert sum(day.rows for day in days) == 10 * 24 * 366
    assert sum(day.retries for day in days) <= faults
    assert_as_served(lake, tables, FIRST, LAST)


def _klines(server: BybitServer) -> list:
    return [asked for asked in server.asked if asked.path == "/v5/market/kline"]


def _kline_requests(server: BybitServer) -> list[tuple]:
    return [(asked.query["symbol"], asked.query["start"], asked.query["end"]) for asked in _klines(server)]


def test_answers_that_come_empty_are_asked_for_again_and_the_year_is_complete(tmp_path):
    with bybit_server(COINS[:2]) as server:
        honest, lies = server._kline, {"left": 3}

        def sometimes_empty(query):
            lies["left"] -= 1
            return server._said({"symbol": query["symbol"], "list": []}) if lies["left"] in (0, 1) else honest(query)

        server._kline = sometimes_empty
        feed = BybitFeed(FeedSettings(bybit_url=server.url, **PATIENT), backoff=hurried())
        lake = Lake(tmp_path, "api")
        days = ingest("candles", feed, lake, COINS[:2], FIRST, LAST, settings=FeedSettings())
        assert len(server.klines_asked()) == 18 + 2
    assert sum(day.gaps for day in days) == 0
    assert_as_served(lake, candles_of(COINS[:2]), FIRST, LAST)


def test_both_venues_arrive_through_one_feed_and_faults(tmp_path):
    assets = (*COINS[:2], *STOCKS)
    tables = candles_of(assets)
    stocks = {asset.symbol: tables[asset].assign(volume=tables[asset]["volume"].round()) for asset in STOCKS}
    for asset in STOCKS:
        tables[asset] = stocks[asset.symbol].assign(turnover=float("nan"))
    with (
        bybit_server(COINS[:2], share=0.2, kinds=TRANSIENT, seed=5) as bybit,
        YahooServer(stocks, lambda: NOW, share=0.2, kinds=("429", "500", "truncated", "dropped"), seed=5) as yahoo,
    ):
        settings = FeedSettings(kind="api", bybit_url=bybit.url, yahoo_url=yahoo.url, **PATIENT)
        feed = ApiFeeds(settings, lambda: to_aware(NOW), hurried())
        lake = Lake(tmp_path, "api")
        days = ingest("candles", feed, lake, assets, date(2024, 3, 1), date(2024, 6, 30), settings=settings)
        ingest("funding", feed, lake, assets, date(2024, 3, 1), date(2024, 3, 31), settings=settings)
    assert {day.venue for day in days} == {"bybit", "yahoo"}
    assert sum(day.gaps for day in days) == 0
    assert_as_served(lake, tables, date(2024, 3, 1), date(2024, 6, 30))


@pytest.fixture
def context(monkeypatch):
    # Workers import this package by name, from wherever the tests were started.
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    return processes()


def _stored_windows(lake: Lake) -> set[tuple[str, str, str]]:
    return set(lake.ledger.rows("windows", ("asset_id", "first", "last"), "1 = 1", ()))


@pytest.mark.parametrize(("kills", "assets"), [(4, COINS[:2]), pytest.param(20, COINS, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_resumed_fetch_ends_the_same_and_repeats_nothing_stored(tmp_path, context, kills, assets):
    chance = random.Random(kills)
    with bybit_server(assets) as server:
        answer_at_once = server.answer

        def answer_slowly(path, query):
            time.sleep(0.02)
            return answer_at_once(path, query)

        server.answer = answer_slowly
        lake = Lake(tmp_path / "killed", "api")
        asked_before, stored_before, landed = 0, set[tuple[str, str, str]](), 0
        for _ in range(kills):
            worker = context.Process(target=ingest_candles, args=(tmp_path / "killed", server.url, assets, FIRST, LAST))
            worker.start()
            # By what was asked, not by the clock: on any machine a kill lands while something is in flight.
            until = asked_before + chance.randint(1, 4)
            while worker.is_alive() and len(server.asked) < until:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.05))
            worker.kill()
            worker.join(timeout=60)
            landed += worker.exitcode == -signal.SIGKILL
            assert lake.verify() == []
            _assert_nothing_stored_is_asked_again(server, asked_before, stored_before)
            asked = Counter(ask.query["symbol"] for ask in server.asked[asked_before:] if ask.path == "/v5/market/kline")
            asked_before, stored = len(server.asked), _stored_windows(lake)
            asked.subtract(asset_id.split(":")[-1] for asset_id, *_ in stored - stored_before)
            stored_before = stored
            # All that a kill cost: of each asset the one window that was in flight.
            assert set(asked.values()) <= {0, 1}
            assert asked.total() <= BybitFeed.parallel
        assert landed > 0, "every fetch had ended before its kill"
        ingest_candles(tmp_path / "killed", server.url, assets, FIRST, LAST)
        _assert_nothing_stored_is_asked_again(server, asked_before, stored_before)
        ingest_candles(tmp_path / "whole", server.url, assets, FIRST, LAST)
    whole = Lake(tmp_path / "whole", "api")
    assert lake.day_hashes("bybit", FIRST, LAST) == whole.day_hashes("bybit", FIRST, LAST)
    assert _content(lake) == _content(whole)
    assert_as_served(lake, candles_of(assets), FIRST, LAST)


def _assert_nothing_stored_is_asked_again(server: BybitServer, since: int, stored: set[tuple[str, str, str]]) -> None:
    for asked in server.asked[since:]:
        if asked.path == "/v5/market/kline":
            opened = pd.Timestamp(int(asked.query["start"]), unit="ms").date().isoformat()
            for asset_id, first, last in stored:
                assert not (asset_id.endswith(":" + asked.query["symbol"]) and first <= opened <= last)


def _content(lake: Lake) -> dict[str, dict]:
    """Every file that the ledger names, without the time of its fetch."""
    files = [row.file for row in lake.ledger.coverage("candles", FIRST, LAST) if row.file]
    return {name: pq.read_table(lake.folder / name).drop_columns("fetched_at").to_pydict() for name in files}


def test_two_fetches_at_once_corrupt_nothing_and_store_each_candle_once(tmp_path, context):
    with bybit_server(COINS[:2]) as server:
        workers = [context.Process(target=ingest_candles, args=(tmp_path, server.url, COINS[:2], FIRST, LAST)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=300)
        assert [worker.exitcode for worker in workers] == [0, 0]
    lake = Lake(tmp_path, "api")
    assert_as_served(lake, candles_of(COINS[:2]), FIRST, LAST)
    assert lake.read_revisions(FIRST, LAST).num_rows == 0
    assert not list(lake.folder.rglob("*.tmp"))


def test_a_revision_between_two_fetches_is_kept_next_to_the_first_value(tmp_path):
    with bybit_server(COINS[:1]) as server:
        settings = FeedSettings(bybit_url=server.url, **PATIENT)
        lake = Lake(tmp_path, "api")
        ingest("candles", BybitFeed(settings, backoff=hurried()), lake, COINS[:1], FIRST, LAST, settings=settings)
        before = lake.read_candles("bybit", FIRST, LAST)
        listing = server.listings["linear", "BTCUSDT"]
        place = int(listing.candles["closed_at"].searchsorted(pd.Timestamp("2024-12-30 12:00")))
        changed = listing.candles.copy()
        changed.loc[place, "close"] = changed.loc[place, ["open", "close"]].mean()
        server.listings["linear", "BTCUSDT"] = Listing(changed)
        feed = BybitFeed(settings, backoff=hurried())
        refresh_from = date(2024, 12, 29)
        days = ingest("candles", feed, lake, COINS[:1], FIRST, LAST, settings=settings, refresh_from=refresh_from)
    assert lake.read_candles("bybit", FIRST, LAST).equals(before)
    assert [day.day for day in days if day.revisions] == [date(2024, 12, 30)]
    (revision,) = lake.read_revisions(FIRST, LAST).to_pylist()
    assert (revision["field"], revision["closed_at"]) == ("close", datetime(2024, 12, 30, 12))
    assert revision["later_value"] == changed.loc[place, "close"]


def test_every_day_of_the_range_is_in_the_ledger_and_the_manifest_names_its_bytes(tmp_path):
    with bybit_server(COINS[:1]) as server:
        settings = FeedSettings(bybit_url=server.url, **PATIENT)
        lake = Lake(tmp_path, "api")
        ingest("candles", BybitFeed(settings, backoff=hurried()), lake, COINS[:1], FIRST, LAST, settings=settings)
    coverage = lake.read_coverage(FIRST, LAST).to_pylist()
    assert [row["day"] for row in coverage] == list(days_between(FIRST, LAST))
    manifest = json.loads(lake.write_manifest().read_text())
    assert manifest["files"] == {row["file"]: {"rows": 24, "sha256": row["sha256"]} for row in coverage}
    assert sum(asked["rows"] for asked in manifest["requests"]) == 24 * 366
