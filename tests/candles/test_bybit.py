"""The Bybit feed against a server with Bybit's own traps."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.page_windows import INTERVALS, bar_end, opens_in
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import ExperimentError, FeedBlockedError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.servers.bybit import TRANSIENT, BybitServer, Listing

BTC = Asset(venue="bybit", symbol="BTCUSDT")
SPOT = Asset(venue="bybit", symbol="BTCUSDT", category="spot")
INVERSE = Asset(venue="bybit", symbol="BTCUSD", category="inverse")
START, END = datetime(2025, 1, 1), datetime(2025, 4, 1)
VALUES = ["opened_at", "closed_at", "open", "high", "low", "close", "volume", "turnover"]


class Time:
    """A clock that moves only when something waits."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def backoff(self) -> Backoff:
        return Backoff(monotonic=lambda: self.seconds, sleep=self.sleep, jitter=lambda: 0.5)


def table_of(asset: Asset = BTC) -> pd.DataFrame:
    return plain_candles(asset, datetime(2024, 12, 1), datetime(2025, 5, 1))


def server_at(now: datetime = datetime(2025, 6, 1), **faults) -> BybitServer:
    settled = pd.date_range("2024-12-01 08:00", "2025-04-30", freq="8h")
    funding = pd.DataFrame({"settled_at": settled, "rate": np.arange(len(settled)) * 1e-6})
    inverse = table_of(INVERSE)
    inverse["volume"], inverse["turnover"] = inverse["turnover"], inverse["volume"]
    listings = {
        ("linear", "BTCUSDT"): Listing(table_of(), funding),
        ("spot", "BTCUSDT"): Listing(table_of(SPOT)),
        ("inverse", "BTCUSD"): Listing(inverse),
    }
    return BybitServer(listings, lambda: now, **faults)


def feed_of(server: BybitServer, time: Time | None = None, **knobs) -> BybitFeed:
    settings = FeedSettings(**{"bybit_url": server.url, "requests_per_second": 120, "timeout_seconds": 5, **knobs})
    return BybitFeed(settings, backoff=(time or Time()).backoff())


def test_a_range_wider_than_a_page_arrives_whole_in_the_fewest_requests():
    with server_at() as server:
        rows = feed_of(server).candles(BTC, START, END)
        given = table_of()
        given = given[(given["closed_at"] > START) & (given["closed_at"] <= END)].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[VALUES], given[VALUES], check_exact=True)
        assert len(server.klines_asked()) == -(-len(given) // 1000)


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (datetime(2025, 3, 5, 15, 59, 59, 999000), datetime(2025, 3, 5, 15)),
        (datetime(2025, 3, 5, 16, 0, 0), datetime(2025, 3, 5, 16)),
    ],
)
def test_the_forming_candle_is_dropped_until_the_server_says_that_it_closed(now, newest):
    with server_at(now) as server:
        feed = feed_of(server)
        rows = feed.candles(BTC, datetime(2025, 3, 5), datetime(2025, 3, 6))
        assert rows["closed_at"].max() == newest
        assert feed.now() == now.replace(tzinfo=UTC)
        assert rows["close"].iloc[-1] == table_of().set_index("closed_at").loc[newest, "close"]


def test_inverse_contracts_are_turned_into_base_volume_and_quote_turnover():
    with server_at() as server:
        rows = feed_of(server).candles(INVERSE, START, datetime(2025, 1, 2))
        mean_price = rows["turnover"] / rows["volume"]
        assert ((mean_price >= rows["low"]) & (mean_price <= rows["high"])).all()
        assert rows["asset_id"].unique().tolist() == ["bybit:inverse:BTCUSD"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_retried_until_it_passes(fault):
    time = Time()
    with server_at(script=(fault, fault)) as server:
        feed = feed_of(server, time)
        assert len(feed.candles(BTC, START, datetime(2025, 1, 2))) == 24
        assert (feed.traffic.requests, feed.traffic.retries) == (3, 2)
        assert len(time.waits) == 2


def test_a_slow_answer_is_a_timeout_and_a_timeout_is_retried():
    with server_at(script=("slow",)) as server:
        feed = feed_of(server, timeout_seconds=0.15)
        assert len(feed.candles(BTC, START, datetime(2025, 1, 2))) == 24
        assert feed.traffic.retries == 1


def test_pauses_grow_with_full_jitter():
    time = Time()
    with server_at(script=("500",) * 5) as server:
        feed_of(server, time).candles(BTC, START, datetime(2025, 1, 2))
    assert time.waits == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_a_rate_limit_waits_for_the_reset_that_the_server_names():
    time = Time()
    with server_at() as server:
        feed = feed_of(server, time)
        feed.now()
        server.script("10006")
        feed.candles(BTC, START, datetime(2025, 1, 2))
    assert time.waits == [pytest.approx(0.04 + 0.25)]


def test_attempts_end_and_the_error_names_every_cause():
    causes = r"no response after 3 attempts \(HTTP 500; not Bybit's JSON .*; HTTP 429\)"
    with server_at(script=("500", "truncated", "429")) as server, pytest.raises(TransientFeedError, match=causes):
        feed_of(server, max_attempts=3).candles(BTC, START, END)


def test_an_unknown_symbol_fails_at_once_with_the_apis_own_words():
    with server_at() as server:
        feed = feed_of(server)
        with pytest.raises(PermanentFeedError, match=r"bybit:linear:NOPEUSDT: Bybit says 'params error: Symbol Is Invalid'"):
            feed.candles(Asset(venue="bybit", symbol="NOPEUSDT"), START, END)
        assert feed.traffic.requests == 1
        with pytest.raises(PermanentFeedError, match=r"did you mean BTCUSDT\?"):
            feed.listed(Asset(venue="bybit", symbol="BTCUSD"))


def test_a_403_opens_the_circuit_and_nothing_more_is_asked_for_ten_minutes():
    time = Time()
    with server_at(script=("403",)) as server:
        feed = feed_of(server, time)
        with pytest.raises(FeedBlockedError, match="HTTP 403"):
            feed.candles(BTC, START, END)
        with pytest.raises(FeedBlockedError, match="no request for another 600 s"):
            feed.candles(BTC, START, END)
        assert len(server.asked) == 1
        time.seconds += 601
        assert len(feed.candles(BTC, START, datetime(2025, 1, 2))) == 24


@pytest.mark.parametrize("fault", ["10024", "10009"])
def test_a_refused_region_names_the_knob_that_helps(fault):
    with server_at(script=(fault,)) as server, pytest.raises(FeedBlockedError, match=r"feed\.bybit_url"):
        feed_of(server).candles(BTC, START, END)


def test_no_server_at_the_address_is_a_transient_error_that_says_so():
    settings = FeedSettings(bybit_url="http://127.0.0.1:9", max_attempts=2)
    with pytest.raises(TransientFeedError, match="ConnectionError"):
        BybitFeed(settings, backoff=Time().backoff()).candles(BTC, START, END)


def test_a_wrong_path_blames_the_url():
    with server_at() as server, pytest.raises(PermanentFeedError, match=r"HTTP 404 .*check feed\.bybit_url"):
        BybitFeed(FeedSettings(bybit_url=server.url + "/elsewhere"), backoff=Time().backoff()).candles(BTC, START, END)


def test_launch_times_come_from_every_page_of_the_instruments():
    with server_at() as server:
        server.page_of_instruments = 1
        server.listings["linear", "ETHUSDT"] = Listing(table_of(), launched=datetime(2021, 3, 15))
        feed = feed_of(server)
        assert feed.listed(Asset(venue="bybit", symbol="ETHUSDT")) == datetime(2021, 3, 15)
        assert feed.listed(BTC) == datetime(2024, 12, 1)
        assert feed.listed(SPOT) is None
        assert sum(asked.path.endswith("instruments-info") for asked in server.asked) == 3


def test_funding_is_paged_backwards_and_arrives_whole():
    with server_at() as server:
        rows = feed_of(server).funding(BTC, START, END)
        assert len(rows) == 270
        assert rows["settled_at"].is_monotonic_increasing
        assert rows["settled_at"].iloc[0] == pd.Timestamp("2025-01-01 08:00")
        assert rows["settled_at"].iloc[-1] == pd.Timestamp("2025-04-01 00:00")
        assert sum(asked.path.endswith("funding/history") for asked in server.asked) == 2


def test_a_page_that_holds_another_window_is_cut_to_what_was_asked():
    with server_at() as server:
        rows = feed_of(server).candles(BTC, datetime(2025, 1, 1, 0, 30), datetime(2025, 1, 1, 3, 30))
        assert rows["closed_at"].dt.hour.tolist() == [1, 2, 3]


@pytest.mark.parametrize("asset", [BTC, SPOT, INVERSE], ids=lambda asset: asset.category)
@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_of_every_category_arrives_whole_in_the_fewest_requests(interval, asset):
    opened = opens_in(datetime(2019, 12, 1), datetime(2025, 6, 1), interval)[-2500:]
    step = np.arange(len(opened))
    table = pd.DataFrame({"opened_at": np.array(opened, "datetime64[us]")})
    table["closed_at"] = np.array([bar_end(moment, interval) for moment in opened], "datetime64[us]")
    table["open"], table["high"], table["low"], table["close"] = 100.0 + step, 102.0 + step, 99.0 + step, 101.0 + step
    table["volume"], table["turnover"] = 10.0, 10.0 * (100.5 + step)
    served = table.rename(columns={"volume": "turnover", "turnover": "volume"}) if asset is INVERSE else table
    with BybitServer({(asset.category, asset.symbol): Listing(served)}, lambda: datetime(2025, 6, 1)) as server:
        settings = FeedSettings(bybit_url=server.url, requests_per_second=120)
        feed = BybitFeed(settings, interval=interval, backoff=Time().backoff())
        rows = feed.candles(asset, opened[0], datetime(2025, 6, 1))
        pd.testing.assert_frame_equal(rows[VALUES].reset_index(drop=True), table[VALUES])
        assert len(server.klines_asked()) == -(-len(opened) // 1000)


def test_a_closed_contract_is_expected_until_its_delivery_and_no_longer(tmp_path):
    delivered = datetime(2025, 3, 5, 9)
    closed = table_of()[lambda table: table["closed_at"] <= delivered]
    with server_at() as server:
        server.listings["linear", "LUNAUSDT"] = Listing(closed, status="Closed", delivered=delivered)
        luna, first, last = Asset(venue="bybit", symbol="LUNAUSDT"), date(2025, 3, 1), date(2025, 3, 10)
        feed = feed_of(server)
        assert (feed.delisted(luna), feed.delisted(BTC)) == (delivered, None)
        days = ingest("candles", feed, Lake(tmp_path, "api"), (luna,), first, last, settings=FeedSettings())
    assert [(day.rows, day.expected_rows, day.gaps) for day in days] == [(24, 24, 0)] * 4 + [(9, 9, 0)] + [(0, 0, 0)] * 5


def test_an_instrument_that_is_only_announced_is_refused():
    soon = Asset(venue="bybit", symbol="SOONUSDT")
    with server_at() as server:
        server.listings["linear", soon.symbol] = Listing(table_of(), status="PreLaunch")
        with pytest.raises(PermanentFeedError, match="announced it and does not trade it yet"):
            feed_of(server).listed(soon)


def test_an_unknown_interval_is_refused_with_the_list():
    with pytest.raises(ExperimentError, match="choose from 1, 3, 5"):
        BybitFeed(FeedSettings(), interval="7")


def test_the_limiter_never_lets_more_through_than_its_rate():
    from crossattn_core.candles.feeds.retry import TokenBucket

    time = Time()
    bucket = TokenBucket(10, 5, time.backoff())
    moments = []
    for _ in range(50):
        bucket.take()
        moments.append(time.seconds)
    assert moments[4] == moments[0]
    for early, late in zip(moments, moments[25:], strict=False):
        assert late - early >= (25 - 5) / 10 - 1e-9
    assert timedelta(seconds=moments[-1] - moments[0]) == timedelta(seconds=4.5)
