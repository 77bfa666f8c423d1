"""The Yahoo feed, through yfinance, against a server with Yahoo's own traps."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.feeds.yahoo import YahooFeed
from crossattn_core.candles.quality import validate_candles
from crossattn_core.errors import ExperimentError, FeedBlockedError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.servers.yahoo import TRANSIENT, YahooServer

AAPL = Asset(venue="yahoo", symbol="AAPL")
START, END = datetime(2025, 6, 25), datetime(2025, 8, 1)
NOW = datetime(2025, 9, 1)
VALUES = ["opened_at", "closed_at", "open", "high", "low", "close", "volume"]


@pytest.fixture(scope="session", autouse=True)
def _yfinance_keeps_its_cache_to_itself(tmp_path_factory):
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


def table_of(asset: Asset = AAPL, *, half_days: bool = True) -> pd.DataFrame:
    table = plain_candles(asset, datetime(2023, 1, 1), datetime(2025, 8, 28))
    if not half_days:
        bars = expected_bars("XNYS", datetime(2023, 1, 1), datetime(2025, 8, 28))
        table = table[~bars.is_optional_T].reset_index(drop=True)
    return table


def server_at(now: datetime = NOW, *, half_days: bool = True, **faults) -> YahooServer:
    return YahooServer({"AAPL": table_of(half_days=half_days)}, lambda: now, **faults)


def feed_of(server: YahooServer, **knobs) -> YahooFeed:
    interval = knobs.pop("interval", "1h")
    settings = FeedSettings(yahoo_url=server.url, **{"timeout_seconds": 5, **knobs})
    time = {"at": 0.0}

    def sleep(seconds: float) -> None:
        time["at"] += seconds

    backoff = Backoff(monotonic=lambda: time["at"], sleep=sleep, jitter=lambda: 0.5)
    return YahooFeed(settings, lambda: server.clock().replace(tzinfo=UTC), interval=interval, backoff=backoff)


def test_a_range_arrives_whole_in_one_request_without_closing_prints():
    with server_at() as server:
        rows = feed_of(server).candles(AAPL, START, END)
        given = table_of()
        given = given[(given["closed_at"] > START) & (given["closed_at"] <= END)].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[VALUES], given[VALUES], check_exact=True)
        assert rows["turnover"].isna().all()
        assert server.charts_asked() == ["AAPL"]
        assert validate_candles(rows, AAPL, NOW).refused.empty


def test_a_half_day_without_its_closing_bar_is_taken_as_it_is():
    with server_at(half_days=False) as server:
        rows = feed_of(server).candles(AAPL, datetime(2025, 7, 3), datetime(2025, 7, 4))
    assert rows["closed_at"].tolist() == [pd.Timestamp(f"2025-07-03 {time}") for time in ("14:30", "15:30", "16:30")]


def test_candles_close_by_the_servers_clock_in_summer_and_in_winter():
    for now, newest in (
        (datetime(2025, 7, 8, 14, 29, 59), datetime(2025, 7, 7, 20)),
        (datetime(2025, 7, 8, 14, 30, 0), datetime(2025, 7, 8, 14, 30)),
        (datetime(2025, 1, 8, 20, 59, 59), datetime(2025, 1, 8, 20, 30)),
        (datetime(2025, 1, 8, 21, 0, 0), datetime(2025, 1, 8, 21)),
    ):
        with server_at(now) as server:
            rows = feed_of(server).candles(AAPL, now - timedelta(days=2), now + timedelta(days=1))
        assert rows["closed_at"].max() == newest
        assert validate_candles(rows, AAPL, now).refused.empty


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_retried_and_its_cached_answer_forgotten(fault):
    # yfinance itself repeats a failed request once with another cookie: four faults reach past that.
    with server_at(script=(fault,) * 4) as server:
        feed = feed_of(server)
        assert len(feed.candles(AAPL, START, END)) > 100
        assert feed.traffic.retries >= 1


def test_a_past_range_asked_twice_reaches_the_server_twice():
    with server_at() as server:
        feed = feed_of(server)
        feed.candles(AAPL, START, END)
        table = server.tables["AAPL"]
        table["close"] += 0.01
        assert feed.candles(AAPL, START, END)["close"].iloc[0] == table.set_index("closed_at")["close"][START:].iloc[0]
        assert len(server.charts_asked()) == 2


def test_attempts_end_with_an_error_that_names_the_cause():
    causes = r"yahoo:equity:AAPL: no response after 2 attempts .*500"
    with server_at(share=1.0, kinds=("500",)) as server, pytest.raises(TransientFeedError, match=causes):
        feed_of(server, max_attempts=2).candles(AAPL, START, END)


def test_an_unknown_symbol_fails_at_once_with_yahoos_own_words():
    with server_at() as server, pytest.raises(PermanentFeedError, match=r"NOPE: Yahoo says .*symbol may be delisted"):
        feed_of(server).candles(Asset(venue="yahoo", symbol="NOPE"), START, END)


def test_a_403_opens_the_circuit():
    with server_at(share=1.0, kinds=("403",)) as server:
        feed = feed_of(server)
        with pytest.raises(FeedBlockedError, match="HTTP 403"):
            feed.candles(AAPL, START, END)
        asked = len(server.asked)
        with pytest.raises(FeedBlockedError, match="no request for another"):
            feed.candles(AAPL, START, END)
        assert len(server.asked) == asked


def test_a_weekend_is_answered_without_asking():
    with server_at() as server:
        assert feed_of(server).candles(AAPL, datetime(2025, 7, 5), datetime(2025, 7, 7)).empty
        assert not server.asked


def test_a_session_that_yahoo_has_nothing_for_is_empty_and_no_error():
    with server_at() as server:
        server.tables["AAPL"] = server.tables["AAPL"].query("closed_at < '2025-07-01'")
        assert feed_of(server).candles(AAPL, datetime(2025, 7, 8), datetime(2025, 7, 9)).empty


def test_hourly_candles_older_than_730_days_are_refused_with_the_earliest_day():
    with server_at() as server:
        with pytest.raises(
            PermanentFeedError, match=r"730 days; the request starts on 2023-06-01, the earliest now is 2023-09-03"
        ):
            feed_of(server).candles(AAPL, datetime(2023, 6, 1), datetime(2023, 7, 1))
        assert not server.asked


def test_the_earliest_day_that_the_error_names_is_answered():
    with server_at() as server:
        rows = feed_of(server).candles(AAPL, datetime(2023, 9, 3), datetime(2023, 9, 6))
        assert len(rows) == 7


def test_daily_candles_run_from_bell_to_bell():
    with server_at() as server:
        rows = feed_of(server, interval="1d", adjust_splits=False).candles(AAPL, datetime(2025, 7, 2), datetime(2025, 7, 8))
    assert [f"{opened:%d %H:%M}-{closed:%H:%M}" for opened, closed in zip(rows["opened_at"], rows["closed_at"], strict=True)] == [
        "02 13:30-20:00",
        "03 13:30-17:00",
        "07 13:30-20:00",
    ]
    assert validate_candles(rows, AAPL, NOW, interval=timedelta(days=1)).refused.empty


def test_adjusted_and_raw_prices_differ_by_the_adjustment():
    with server_at() as server:
        closes = {
            adjusted: feed_of(server, interval="1d", adjust_splits=adjusted).candles(AAPL, START, END)["close"]
            for adjusted in (True, False)
        }
    pd.testing.assert_series_equal(closes[True], closes[False] * 0.5)


def test_the_first_trade_is_known_once_prices_were_asked_for():
    with server_at() as server:
        feed = feed_of(server)
        assert feed.listed(AAPL) is None
        feed.candles(AAPL, START, END)
        assert feed.listed(AAPL) == datetime(2023, 1, 3, 14, 30)
        assert len(server.charts_asked()) == 1


def test_an_unknown_interval_is_refused_with_the_list():
    why = r"choose from 1m, 5m, .*1d: set feed\.interval to a shorter one that divides the bar \(1m for 3m, 1h for 4h\)"
    with pytest.raises(ExperimentError, match=why):
        YahooFeed(FeedSettings(), lambda: datetime.now(UTC), interval="4h")


def test_one_request_spans_what_yahoo_keeps():
    assert YahooFeed(FeedSettings(), lambda: datetime.now(UTC)).window_days(AAPL) == 729
    assert date(2025, 9, 1) - timedelta(days=729) == date(2023, 9, 3)
