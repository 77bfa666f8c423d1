"""A response with HTTP 200 that is not what was asked for is sent again, blamed on its asset alone, and never stored."""

import json
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.feeds.yahoo import YahooFeed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.quality import validate_candles, validate_funding
from crossattn_core.candles.scale import Split
from crossattn_core.errors import PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.servers.bybit import BybitServer, Listing
from tests.servers.faults import Answer
from tests.servers.yahoo import YahooServer

BTC, ETH = Asset(venue="bybit", symbol="BTCUSDT"), Asset(venue="bybit", symbol="ETHUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
NOW, FIRST, LAST = datetime(2025, 6, 1), date(2025, 3, 1), date(2025, 3, 10)


def at_once() -> Backoff:
    return Backoff(monotonic=lambda: 0.0, sleep=lambda seconds: None, jitter=lambda: 0.5)


def bybit(**more) -> BybitServer:
    table = {asset: plain_candles(asset, datetime(2025, 2, 1), datetime(2025, 5, 1)) for asset in (BTC, ETH)}
    return BybitServer({("linear", asset.symbol): Listing(rows) for asset, rows in table.items()}, lambda: NOW, **more)


def bybit_feed(server: BybitServer) -> BybitFeed:
    return BybitFeed(FeedSettings(bybit_url=server.url, max_attempts=3, requests_per_second=120), backoff=at_once())


def yahoo_feed(server: YahooServer, **knobs) -> YahooFeed:
    settings = FeedSettings(yahoo_url=server.url, timeout_seconds=5, max_attempts=4)
    return YahooFeed(settings, lambda: server.clock().replace(tzinfo=UTC), backoff=at_once(), **knobs)


MALFORMED = [
    {},
    {"list": None},
    {"list": {}},
    {"list": [["1740787200000", "1", "1", "1", "1", "1"]]},
    {"list": [["1740787200000", "", "1", "1", "1", "1", "1"]]},
    {"list": [["", "1", "1", "1", "1", "1", "1"]]},
    {"list": [[None] * 7]},
    {"list": [None]},
    {"list": "nothing"},
    [],
    "text",
]


@pytest.mark.parametrize("result", MALFORMED, ids=lambda result: json.dumps(result)[:40])
def test_a_malformed_page_of_one_symbol_spares_the_others(tmp_path, result):
    with bybit() as server:
        honest = server._kline
        server._kline = lambda query: server._said(result) if query["symbol"] == "BTCUSDT" else honest(query)
        lake = Lake(tmp_path, "api")
        with pytest.raises(
            (TransientFeedError, PermanentFeedError), match=r"1 of 2 assets failed; .*\n.*BTCUSDT: no response after 3"
        ):
            ingest("candles", bybit_feed(server), lake, (BTC, ETH), FIRST, LAST, settings=FeedSettings())
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    assert stored["asset_id"].value_counts().to_dict() == {ETH.asset_id: 240}


@pytest.mark.parametrize("result", [{}, {"list": None}, {"list": [{}]}, {"list": [{"fundingRateTimestamp": ""}]}])
def test_malformed_funding_and_instruments_are_transient(result):
    with bybit() as server:
        server._funding = server._instruments = lambda query: server._said(result)
        feed = bybit_feed(server)
        with pytest.raises(TransientFeedError):
            feed.funding(BTC, datetime(2025, 3, 1), datetime(2025, 3, 2))
        with pytest.raises(TransientFeedError):
            feed.listed(BTC)


def test_a_malformed_page_that_comes_once_is_asked_for_again():
    with bybit() as server:
        honest, left = server._kline, [{"list": None}]
        server._kline = lambda query: server._said(left.pop()) if left else honest(query)
        assert len(bybit_feed(server).candles(BTC, datetime(2025, 3, 1), datetime(2025, 3, 2))) == 24


def test_an_empty_list_of_instruments_is_no_verdict_on_a_symbol():
    with bybit() as server:
        honest, is_empty = server._instruments, [True]
        server._instruments = lambda query: server._said({"list": []}) if is_empty else honest(query)
        feed = bybit_feed(server)
        with pytest.raises(TransientFeedError, match="Bybit lists no linear instrument at all just now"):
            feed.listed(BTC)
        is_empty.clear()
        assert feed.listed(BTC) == datetime(2025, 2, 1)


def test_an_ingest_names_the_coin_that_is_traded_by_the_thousand(tmp_path):
    pepe = Asset(venue="bybit", symbol="PEPEUSDT")
    with bybit() as server:
        for symbol in ("1000PEPEUSDT", "PEOPLEUSDT"):
            server.listings["linear", symbol] = server.listings["linear", "BTCUSDT"]
        with pytest.raises(PermanentFeedError, match=r"did you mean 1000PEPEUSDT\?"):
            ingest("candles", bybit_feed(server), Lake(tmp_path, "api"), (pepe,), FIRST, LAST, settings=FeedSettings())


@pytest.mark.parametrize("status", ["Closed", "Settling", "Delivering"])
def test_a_contract_that_is_being_delivered_is_known(status):
    delivered = datetime(2025, 3, 5, 9)
    with bybit() as server:
        server.listings["linear", "LUNAUSDT"] = Listing(
            plain_candles(BTC, datetime(2025, 2, 1), delivered), status=status, delivered=delivered
        )
        assert bybit_feed(server).delisted(Asset(venue="bybit", symbol="LUNAUSDT")) == delivered


def yahoo_server(**faults) -> YahooServer:
    return YahooServer({"AAPL": plain_candles(AAPL, datetime(2025, 1, 1), datetime(2025, 5, 1))}, lambda: NOW, **faults)


def test_yahoos_response_for_another_symbol_is_refused():
    with yahoo_server() as server:
        server.renamed["AAPL"] = "MSFT"
        with pytest.raises(PermanentFeedError, match="AAPL: Yahoo responded with MSFT; nothing of it was stored"):
            yahoo_feed(server).candles(AAPL, datetime(2025, 3, 3), datetime(2025, 3, 8))


def test_an_intermittent_401_of_yahoo_passes():
    with yahoo_server() as server:
        server.script("401", "401")
        feed = yahoo_feed(server)
        assert len(feed.candles(AAPL, datetime(2025, 3, 3), datetime(2025, 3, 8))) == 35
        assert feed.traffic.retries >= 1


def test_yahoos_own_split_is_told_with_the_candles():
    with yahoo_server() as server:
        server.splits["AAPL"] = [(datetime(2025, 3, 5, 14, 30), 4.0)]
        feed = yahoo_feed(server)
        feed.candles(AAPL, datetime(2025, 3, 3), datetime(2025, 3, 8))
        assert feed.splits(AAPL) == (Split(datetime(2025, 3, 5, 14, 30), 4.0),)


def test_rows_before_and_after_the_session_are_refused_and_those_of_the_session_stored():
    rows = plain_candles(AAPL, datetime(2025, 3, 3), datetime(2025, 3, 13))
    days, hours = pd.date_range("2025-03-03", "2025-03-07").as_unit("us"), (9, 10, 11, 12, 13, 21, 22, 23)
    opened = [day + pd.Timedelta(hours=hour) for day in days for hour in hours]
    outside = rows.iloc[np.zeros(len(opened), dtype=int)].assign(opened_at=opened)
    outside["closed_at"] = outside["opened_at"] + pd.Timedelta(hours=1)
    result = validate_candles(pd.concat([rows, outside]), AAPL, NOW)
    assert len(result.accepted) == len(rows)
    assert result.refused["reason"].value_counts().to_dict() == {"outside_session": 40}


def test_funding_that_the_panel_would_refuse_is_refused_on_the_way_in():
    from crossattn_core.panel.schemas import failures

    settled = pd.date_range("2025-03-03 08:00", periods=5, freq="8h").as_unit("us")
    rates = [1e-4, 0.06, -0.06, 0.099, 0.11]
    rows = pd.DataFrame({"asset_id": BTC.asset_id, "settled_at": settled, "rate": rates, "fetched_at": settled})
    accepted = validate_funding(rows, NOW).accepted["rate"]
    assert accepted.tolist() == rates[:4]
    bars = pd.DataFrame({"funding_rate": rates})
    refused = failures("panel_rows", bars)
    assert refused[refused["column"] == "funding_rate"]["value"].tolist() == ["0.11"]


BAR = int(datetime(2025, 3, 3, 14, 30, tzinfo=UTC).timestamp())
META = {"symbol": "AAPL", "currency": "USD", "instrumentType": "EQUITY", "exchangeTimezoneName": "America/New_York"}


def _chart(**result) -> dict:
    return {"chart": {"result": [{"meta": META} | result], "error": None}}


def _quote(**columns) -> dict:
    whole = {name: [100.0] for name in ("open", "high", "low", "close", "volume")} | columns
    return {"quote": [{name: values for name, values in whole.items() if values != "missing"}]}


YAHOO_MALFORMED = {
    "no chart": {},
    "null chart": {"chart": None},
    "missing list": {"chart": {"error": None}},
    "null list": {"chart": {"result": None, "error": None}},
    "empty list": {"chart": {"result": [], "error": None}},
    "list of null": {"chart": {"result": [None], "error": None}},
    "no meta": {"chart": {"result": [{"timestamp": [BAR], "indicators": _quote()}], "error": None}},
    "no indicators": _chart(timestamp=[BAR]),
    "null quotes": _chart(timestamp=[BAR], indicators={"quote": None}),
    "no close": _chart(timestamp=[BAR], indicators=_quote(close="missing")),
    "a column too short": _chart(timestamp=[BAR, BAR + 3600], indicators=_quote()),
    "six candles for five instants": _chart(
        timestamp=[BAR + 3600 * hour for hour in range(5)], indicators=_quote(close=[1.0] * 6)
    ),
    "empty strings": _chart(timestamp=[BAR], indicators=_quote(close=[""])),
    "words": _chart(timestamp=["soon"], indicators=_quote()),
    "text": "text",
    "a list": [],
}


@pytest.mark.parametrize("body", YAHOO_MALFORMED.values(), ids=YAHOO_MALFORMED.keys())
def test_a_malformed_chart_of_one_symbol_spares_the_others_and_stores_nothing(tmp_path, body):
    nvda = Asset(venue="yahoo", symbol="NVDA")
    with yahoo_server() as server:
        server.tables["NVDA"] = plain_candles(nvda, datetime(2025, 1, 1), datetime(2025, 5, 1))
        honest, path = server.answer, "/v8/finance/chart/AAPL"
        malformed = Answer(json.dumps(body).encode())
        server.answer = lambda asked, query: malformed if asked == path else honest(asked, query)
        lake = Lake(tmp_path, "api")
        with pytest.raises(TransientFeedError, match=r"1 of 2 assets failed; .*\n.*AAPL: no response after 4"):
            ingest("candles", yahoo_feed(server), lake, (AAPL, nvda), FIRST, LAST, settings=FeedSettings())
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    assert stored["asset_id"].value_counts().to_dict() == {nvda.asset_id: 6 * 7}
