"""Exchanges through ccxt, against a server that speaks Binance's REST over recorded candles."""

import sys
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.ccxt import CcxtFeed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import ExperimentError, FeedBlockedError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import Experiment, FeedSettings
from crossattn_core.grid import Grid
from crossattn_core.universe import VENUES, Asset
from tests.candles.scripted import plain_candles
from tests.recorded import RECORDED
from tests.servers.binance import BinanceServer, Market

PERP, SPOT = Asset(venue="binance", symbol="BTCUSDT"), Asset(venue="binance", symbol="BTCUSDT", category="spot")
START, END = datetime(2023, 7, 20), datetime(2023, 7, 23)
NOW = datetime(2023, 9, 1)
VALUES = ["opened_at", "open", "high", "low", "close", "volume"]
TRANSIENT = ("429", "500", "503", "truncated", "dropped", "cut_short", "wrong_type", "empty_body")


def minutes(scale: float = 1.0) -> pd.DataFrame:
    """Recorded minutes of BTC, or plain ones; ``scale`` makes those of another market."""
    path = RECORDED / "binance_1m" / "BTCUSDT.parquet"
    if path.is_file():
        table = pd.read_parquet(path).rename(columns={"timestamp": "opened_at"})
        table["opened_at"] = pd.to_datetime(table["opened_at"], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    else:
        table = plain_candles(PERP, datetime(2023, 7, 19), datetime(2023, 8, 10), timedelta(minutes=1))
    table = table[(table["opened_at"] >= "2023-07-19 12:00") & (table["opened_at"] < "2023-07-25")].reset_index(drop=True)
    return table.assign(**{name: table[name] * scale for name in ("open", "high", "low", "close")})


def funding() -> pd.DataFrame:
    settled = pd.date_range("2023-07-19 16:00", "2023-07-24", freq="8h")
    return pd.DataFrame({"settled_at": settled, "rate": np.arange(1, len(settled) + 1) * 1e-6})


def server_at(now: datetime = NOW, **faults) -> BinanceServer:
    markets = {("linear", "BTCUSDT"): Market(minutes(), funding()), ("spot", "BTCUSDT"): Market(minutes(1.001))}
    return BinanceServer(markets, lambda: now, **faults)


def feed_of(server: BinanceServer, bar: str = "1m", venue: str = "binance", **knobs) -> CcxtFeed:
    settings = FeedSettings(urls={venue: server.url}, **{"timeout_seconds": 5, **knobs})
    backoff = Backoff(monotonic=lambda: 0.0, sleep=lambda seconds: None, jitter=lambda: 0.5)
    grid = Grid.model_validate({"bar": bar})
    return VENUES.get(venue).open_api(settings, lambda: server.clock().replace(tzinfo=UTC), backoff, grid)


def given(table: pd.DataFrame, start: datetime = START, end: datetime = END) -> pd.DataFrame:
    closed = table["opened_at"] + timedelta(minutes=1)
    return table[(closed > start) & (closed <= end)].reset_index(drop=True)


@pytest.mark.parametrize(("asset", "scale", "page"), [(PERP, 1.0, 500), (SPOT, 1.001, 1000)])
def test_spot_and_perpetual_of_one_symbol_arrive_whole_in_the_fewest_requests(asset, scale, page):
    with server_at() as server:
        rows = feed_of(server).candles(asset, START, END)
        pd.testing.assert_frame_equal(rows[VALUES], given(minutes(scale))[VALUES], check_exact=True)
        asked = [one for one in server.asked if one.path.endswith("klines")]
        assert len(asked) == -(-len(rows) // page)
        assert {one.path.split("/")[1] for one in asked} == {"fapi" if asset is PERP else "api"}
        assert (rows["closed_at"] - rows["opened_at"]).eq(timedelta(minutes=1)).all()
        assert set(rows["asset_id"]) == {asset.asset_id}


def test_funding_arrives_whole_and_each_settlement_once():
    with server_at() as server:
        rows = feed_of(server).funding(PERP, START, END)
        known = funding()
        known = known[(known["settled_at"] > START) & (known["settled_at"] <= END)].reset_index(drop=True)
        np.testing.assert_array_equal(rows["settled_at"], known["settled_at"])
        np.testing.assert_array_equal(rows["rate"], known["rate"])


@pytest.mark.parametrize(
    ("now", "newest"),
    [(datetime(2023, 7, 20, 9, 59, 59, 999000), "2023-07-20 09:59"), (datetime(2023, 7, 20, 10), "2023-07-20 10:00")],
)
def test_the_forming_candle_is_dropped_until_the_server_says_that_it_closed(now, newest):
    with server_at(now) as server:
        feed = feed_of(server)
        rows = feed.candles(PERP, datetime(2023, 7, 20), datetime(2023, 7, 21))
        assert feed.now() == now.replace(tzinfo=UTC)
        assert rows["closed_at"].max() == pd.Timestamp(newest)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_a_retry_cures_is_retried(fault):
    with server_at() as server:
        feed = feed_of(server)
        feed.candles(PERP, START, START + timedelta(hours=1))
        server.script(fault, fault)
        rows = feed.candles(PERP, START, START + timedelta(hours=2))
        assert len(rows) == 120
        assert feed.traffic.retries == 2


def test_a_source_that_never_answers_is_given_up_with_its_causes():
    with server_at(share=1.0, kinds=("500",)) as server, pytest.raises(TransientFeedError, match=r"no response after 3 attempts"):
        feed_of(server, max_attempts=3).candles(PERP, START, END)


@pytest.mark.parametrize("fault", ["418", "451", "403"])
def test_a_refused_address_is_left_alone_for_a_while(fault):
    with server_at(script=(fault,)) as server:
        feed = feed_of(server)
        with pytest.raises(FeedBlockedError, match=r"binance refuses this address or region .* feed\.urls\.binance"):
            feed.candles(PERP, START, END)
        asked = len(server.asked)
        with pytest.raises(FeedBlockedError, match="no request for another 600 s"):
            feed.candles(PERP, START, END)
        assert len(server.asked) == asked


def test_an_unknown_market_and_a_bar_that_the_exchange_lacks_are_refused():
    with server_at() as server:
        feed = feed_of(server)
        with pytest.raises(PermanentFeedError, match="binance has no linear market of this name"):
            feed.candles(Asset(venue="binance", symbol="NONEUSDT"), START, END)
    with pytest.raises(ExperimentError, match=r"coinbase has no candles of 3m; choose from 1m, 5m.* feed\.interval"):
        VENUES.get("coinbase").open_api(FeedSettings(), lambda: datetime.now(UTC), Backoff(), Grid(bar="3m"))


def test_an_exchange_that_keeps_few_candles_says_how_far_it_reaches():
    with server_at() as server:
        feed = feed_of(server, "1h", "kraken")
        feed._exchange.has["fetchTime"] = False  # its protocol is not spoken here
        with pytest.raises(PermanentFeedError, match=r"kraken gives candles of 1h back to 2023-08-02 00:00"):
            feed.candles(Asset(venue="kraken", symbol="BTCUSD"), START, END)


def test_the_limit_of_the_exchange_counts_where_it_is_lower():
    with server_at() as server:
        waits: list[float] = []
        time = {"at": 0.0}

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            time["at"] += seconds

        settings = FeedSettings(urls={"binance": server.url}, requests_per_second=2.0)
        backoff = Backoff(monotonic=lambda: time["at"], sleep=sleep, jitter=lambda: 0.5)
        feed = CcxtFeed("binance", settings, lambda: NOW.replace(tzinfo=UTC), Grid(bar="1m"), backoff)
        feed.candles(PERP, START, END)
        assert time["at"] >= (feed.traffic.requests - 1) / 2.0 - 1e-9


def test_the_lake_keeps_both_markets_of_one_symbol_apart(tmp_path):
    settings = {"assets": [PERP, SPOT], "feed": {"kind": "api"}, "period": {"start": "2023-07-20", "end": "2023-07-22"}}
    experiment = Experiment.model_validate(settings | {"grid": {"bar": "1m"}})
    with server_at(share=0.2, kinds=TRANSIENT, seed=3) as server:
        feed, lake = feed_of(server), Lake(tmp_path, "api", experiment.grid)
        first, last = date(2023, 7, 20), date(2023, 7, 22)
        ingest("candles", feed, lake, experiment.assets, first, last, settings=experiment.feed)
        ingest("funding", feed, lake, (PERP,), first, last, settings=experiment.feed)
        stored = lake.read_candles(None, first, last).to_pandas()
    for asset, scale in ((PERP, 1.0), (SPOT, 1.001)):
        own = stored[stored["asset_id"] == asset.asset_id].sort_values("closed_at").reset_index(drop=True)
        for name in VALUES:
            np.testing.assert_array_equal(own[name], given(minutes(scale))[name])


def test_without_the_extra_the_live_feed_says_what_to_install_and_the_other_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(
        ExperimentError, match=r"pip install 'crossattn\[ccxt\]'; or bring its candles as files.*binance_1m/SYMBOL"
    ):
        VENUES.get("binance").open_api(FeedSettings(), lambda: datetime.now(UTC), Backoff(), Grid(bar="1m"))
