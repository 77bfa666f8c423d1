"""Candles of a minute, of five and of a day arrive, are judged, stored and counted as those of an hour are."""

import sys
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.api import ApiFeeds
from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.candles.feeds.yahoo import YahooFeed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import bounds
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import FeedSettings, Period, PlantedLead, SimulatedMarket
from crossattn_core.grid import BarName, Grid, bar_names
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import VENUES, Asset
from tests.candles.scripted import plain_candles
from tests.recorded import RECORDED, needs_recorded
from tests.servers.bybit import BybitServer, Listing
from tests.servers.yahoo import YahooServer

BTC = Asset(venue="bybit", symbol="BTCUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
MSFT = Asset(venue="yahoo", symbol="MSFT")
VALUES = ["opened_at", "closed_at", "open", "high", "low", "close", "volume"]


def hurried() -> Backoff:
    return Backoff(monotonic=lambda: 0.0, sleep=lambda seconds: None, jitter=lambda: 0.5)


def assert_stored(lake: Lake, asset: Asset, given: pd.DataFrame, first: date, last: date) -> None:
    start, end = bounds(first)[0], bounds(last)[1]
    inside = given[(given["closed_at"] > start) & (given["closed_at"] <= end)].reset_index(drop=True)
    stored = lake.read_candles(asset.venue, first, last).to_pandas()
    own = stored[stored["asset_id"] == asset.asset_id].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[VALUES], inside[VALUES], check_exact=True)
    assert lake.verify() == []


def bybit_ingest(tmp_path, bar: BarName, first: date, last: date, now: datetime):
    grid = Grid(bar=bar)
    given = plain_candles(BTC, bounds(first)[0] - timedelta(days=2), bounds(last)[1] + timedelta(days=2), grid.step)
    lake = Lake(tmp_path, "api", grid)
    with BybitServer({("linear", "BTCUSDT"): Listing(given)}, lambda: now) as server:
        settings = FeedSettings(kind="api", bybit_url=server.url, requests_per_second=120)
        feed = ApiFeeds(settings, lambda: now.replace(tzinfo=UTC), hurried(), grid)
        days = ingest("candles", feed, lake, (BTC,), first, last, settings=settings)
        asked = len(server.klines_asked())
    return given, lake, days, asked


@pytest.mark.parametrize("bar", bar_names())
def test_every_bar_of_bybit_arrives_whole_in_the_fewest_requests(tmp_path, bar):
    first = date(2025, 3, 1)
    last = first + timedelta(days=1000 if bar in ("4h", "1d") else 60 if bar in ("15m", "30m", "1h") else 17)
    given, lake, days, asked = bybit_ingest(tmp_path, bar, first, last, datetime(2028, 6, 1))
    bars = len(days) * Grid(bar=bar).bars_per_day
    assert sum(day.rows for day in days) == sum(day.expected_rows for day in days) == bars
    assert asked <= -(-bars // 1000) + 1
    assert_stored(lake, BTC, given, first, last)


@pytest.mark.parametrize(("bar", "closed"), [("1m", 887), ("5m", 177), ("1d", 0)])
def test_a_day_in_progress_holds_what_has_closed_and_is_fetched_again(tmp_path, bar, closed):
    first, last = date(2025, 3, 1), date(2025, 3, 3)
    _, lake, days, _ = bybit_ingest(tmp_path, bar, first, last, datetime(2025, 3, 3, 14, 47, 59))
    assert [day.rows for day in days] == [Grid(bar=bar).bars_per_day] * 2 + [closed]
    assert [(day.complete, day.gaps) for day in days] == [(True, 0), (True, 0), (False, 0)]
    given, _, days, _ = bybit_ingest(tmp_path, bar, first, last, datetime(2025, 3, 4))
    assert all(day.complete and day.gaps == 0 for day in days)
    assert_stored(lake, BTC, given, first, last)


@pytest.mark.parametrize(("bar", "reach"), [("1m", 8), ("5m", 60), ("15m", 60), ("30m", 60), ("1h", 730)])
def test_yahoos_candles_arrive_as_far_back_as_it_keeps_them_and_no_further(tmp_path, bar, reach):
    grid, now = Grid(bar=bar), datetime(2025, 9, 1, 12)
    served = Grid(bar="15m") if bar == "30m" else grid  # yfinance asks for 15 minutes and puts them together
    given = plain_candles(AAPL, now - timedelta(days=reach + 10), datetime(2025, 8, 30), served.step).assign(turnover=np.nan)
    lake, last = Lake(tmp_path, "api", grid), date(2025, 8, 31)
    first = (now - timedelta(days=reach - 1)).date()
    with YahooServer({"AAPL": given.drop(columns="turnover")}, lambda: now) as server:
        settings = FeedSettings(kind="api", yahoo_url=server.url, timeout_seconds=5)
        feed = ApiFeeds(settings, lambda: now.replace(tzinfo=UTC), hurried(), grid)
        days = ingest("candles", feed, lake, (AAPL,), first, last, settings=settings)
        assert len(server.charts_asked()) == 1
        with pytest.raises(PermanentFeedError, match=rf"for {reach} days; the request starts on .* choose a longer bar"):
            feed.for_venue("yahoo").candles(AAPL, now - timedelta(days=reach + 5), now)
    assert sum(day.gaps for day in days) == 0
    assert sum(day.rows for day in days) == len(expected_bars("XNYS", bounds(first)[0], bounds(last)[1], grid.step))
    if served == grid:
        assert_stored(lake, AAPL, given, first, last)


def test_yahoos_daily_candles_are_stored_from_bell_to_bell(tmp_path):
    now, first, last = datetime(2025, 9, 1), date(2025, 6, 2), date(2025, 8, 29)
    grid, lake = Grid(bar="1d"), Lake(tmp_path, "api", Grid(bar="1d"))
    with YahooServer({"AAPL": plain_candles(AAPL, datetime(2025, 1, 1), datetime(2025, 8, 30))}, lambda: now) as server:
        settings = FeedSettings(kind="api", yahoo_url=server.url, adjust_splits=False)
        feed = ApiFeeds(settings, lambda: now.replace(tzinfo=UTC), hurried(), grid)
        days = ingest("candles", feed, lake, (AAPL,), first, last, settings=settings)
    stored = lake.read_candles("yahoo", first, last).to_pandas()
    bars = expected_bars("XNYS", bounds(first)[0], bounds(last)[1], grid.step)
    assert stored["opened_at"].to_numpy().tolist() == bars.opened_T.astype("datetime64[us]").tolist()
    assert (sum(day.rows for day in days), sum(day.gaps for day in days)) == (63, 0)


@pytest.mark.parametrize("bar", ["3m", "4h"])
def test_a_length_that_yahoo_does_not_have_is_refused_with_the_knob_that_helps(bar):
    with pytest.raises(ExperimentError, match=rf"Yahoo has no candles of {bar}; .* set feed\.interval"):
        VENUES.get("yahoo").open_api(FeedSettings(), lambda: datetime.now(UTC), hurried(), Grid(bar=bar))


def test_each_length_has_a_lake_of_its_own_and_hours_stay_where_they_were(tmp_path):
    assert Lake(tmp_path, "api").folder == tmp_path / "api"
    assert Lake(tmp_path, "api", Grid(bar="1h")).folder == tmp_path / "api"
    assert Lake(tmp_path, "api", Grid(bar="5m")).folder == tmp_path / "api_5m"


def test_a_day_of_minutes_is_compressed_on_disk(tmp_path):
    feed = SimulatedFeed(
        SimulatedMarket(leads=(), missing_share=0),
        (BTC,),
        Period(start=date(2025, 3, 1), end=date(2025, 3, 1)),
        grid=Grid(bar="1m"),
    )
    lake = Lake(tmp_path, "simulated", Grid(bar="1m"))
    ingest("candles", feed, lake, (BTC,), date(2025, 3, 1), date(2025, 3, 1), settings=FeedSettings())
    (file,) = lake.folder.glob("candles/**/*.parquet")
    assert file.stat().st_size < 60_000
    assert lake.read_candles(None, date(2025, 3, 1), date(2025, 3, 1)).num_rows == 1440


@pytest.mark.parametrize("asset", [BTC, AAPL], ids=lambda asset: asset.venue)
@pytest.mark.parametrize("bar", bar_names())
def test_the_simulated_market_has_every_bar_and_the_same_volatility_a_day(bar, asset):
    grid, last = Grid(bar=bar), date(2025, 12, 31) if bar in ("1h", "4h", "1d") else date(2025, 2, 14)
    period = Period(start=date(2025, 1, 1), end=last)
    market = SimulatedMarket(leads=(), missing_share=0, stress_multiple=1.0, common_share=0)
    feed = SimulatedFeed(market, (asset,), period, grid=grid)
    start, end = bounds(period.start)[0], bounds(period.end or period.start)[1]
    rows = feed.candles(asset, start, end)
    bars = expected_bars(asset.calendar, start, end, grid.step)
    assert rows["closed_at"].to_numpy().tolist() == bars.closed_T.tolist()
    move_T = np.log(rows["close"] / rows["open"]).to_numpy()
    hours_T = (bars.closed_T - bars.opened_T) / np.timedelta64(1, "h")
    hourly = np.sqrt((move_T**2).sum() / hours_T.sum())
    assert 0.7 * 0.004 * 0.85 < hourly < 1.5 * 0.004 * 1.15
    if asset is BTC:
        funding = feed.funding(asset, start, end)
        assert len(funding) == 3 * ((end - start).days)
        assert set(funding["settled_at"].dt.hour) == {0, 8, 16}
        assert funding["rate"].std() == pytest.approx(4.64e-5, rel=0.25)


def test_a_simulated_lead_counts_bars_whatever_their_length():
    eth = Asset(venue="bybit", symbol="ETHUSDT")
    lead = PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=3, share=0.2)
    period = Period(start=date(2025, 1, 1), end=date(2025, 1, 31))
    feed = SimulatedFeed(SimulatedMarket(leads=(lead,), missing_share=0), (BTC, eth), period, grid=Grid(bar="5m"))
    rows = {asset: feed.candles(asset, datetime(2025, 1, 1), datetime(2025, 2, 1)) for asset in (BTC, eth)}
    leader, follower = (np.log(table["close"] / table["open"]) for table in rows.values())
    assert leader.shift(3).corr(follower) ** 2 == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    "stamps",
    [
        ["2025-07-02", "2025-07-03", "2025-07-07"],
        ["2025-07-02 00:00:00+00:00", "2025-07-03 00:00:00+00:00", "2025-07-07 00:00:00+00:00"],
        ["2025-07-02 00:00:00-04:00", "2025-07-03 00:00:00-04:00", "2025-07-07 00:00:00-04:00"],
        ["2025-07-02 13:30:00", "2025-07-03 13:30:00", "2025-07-07 13:30:00"],
    ],
)
def test_a_daily_file_is_read_by_the_sessions_date_or_by_its_bell(tmp_path, stamps):
    (tmp_path / "yahoo_1d").mkdir()
    rows = pd.DataFrame({"timestamp": stamps, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0})
    rows.to_csv(tmp_path / "yahoo_1d/AAPL.csv", index=False)
    feed = FilesFeed(tmp_path, lambda: datetime(2026, 1, 1, tzinfo=UTC), Grid(bar="1d"))
    read = feed.candles(AAPL, datetime(2025, 7, 1), datetime(2025, 7, 10))
    assert [f"{opened:%d %H:%M}-{closed:%H:%M}" for opened, closed in zip(read["opened_at"], read["closed_at"], strict=True)] == [
        "02 13:30-20:00",
        "03 13:30-17:00",
        "07 13:30-20:00",
    ]


def test_the_same_daily_candles_under_a_second_name_are_refused(tmp_path):
    (tmp_path / "yahoo_1d").mkdir()
    rows = plain_candles(AAPL, datetime(2025, 1, 1), datetime(2025, 4, 1), timedelta(days=1))
    rows = rows.rename(columns={"opened_at": "timestamp"}).drop(columns="asset_id")
    for symbol in ("AAPL", "MSFT"):
        rows.to_parquet(tmp_path / f"yahoo_1d/{symbol}.parquet")
    grid = Grid(bar="1d")
    lake, feed = Lake(tmp_path / "lake", "files", grid), FilesFeed(tmp_path, lambda: datetime(2026, 1, 1, tzinfo=UTC), grid)
    days = ingest("candles", feed, lake, (AAPL,), date(2025, 1, 1), date(2025, 3, 31), settings=FeedSettings())
    assert sum(day.rows for day in days) == 60
    ingest("dividends", feed, lake, (AAPL,), date(2025, 1, 1), date(2025, 3, 31), settings=FeedSettings())
    with pytest.raises(Exception, match="the same candles are stored under another symbol"):
        ingest("candles", feed, lake, (MSFT,), date(2025, 1, 1), date(2025, 3, 31), settings=FeedSettings())


def test_without_its_library_binance_is_read_from_files_and_its_live_feed_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(ExperimentError, match=r"bring its candles as files.*binance_1m/SYMBOL\.parquet"):
        VENUES.get("binance").open_api(FeedSettings(), lambda: datetime.now(UTC), hurried(), Grid(bar="1m"))
    assert Asset(venue="binance", symbol="BTCUSDT").asset_id == "binance:linear:BTCUSDT"


@needs_recorded
@pytest.mark.parametrize(
    ("venue", "symbol", "bar", "first", "last", "rows"),
    [
        ("binance", "BTCUSDT", "1m", date(2023, 7, 19), date(2023, 8, 16), 29 * 1440),
        ("bybit", "BNBUSDT", "5m", date(2025, 4, 4), date(2025, 7, 1), 89 * 288),
        ("yahoo", "AAPL", "1d", date(2015, 11, 23), date(2025, 11, 18), 2512),
    ],
)
def test_recorded_candles_of_other_lengths_are_stored_whole(tmp_path, venue, symbol, bar, first, last, rows):
    grid, asset = Grid(bar=bar), Asset(venue=venue, symbol=symbol)
    feed = FilesFeed(RECORDED, lambda: datetime(2026, 1, 1, tzinfo=UTC), grid)
    lake = Lake(tmp_path, "files", grid)
    days = ingest("candles", feed, lake, (asset,), first, last, settings=FeedSettings())
    assert (sum(day.rows for day in days), sum(day.gaps for day in days), sum(day.quarantined for day in days)) == (rows, 0, 0)
    stored = lake.read_candles(None, first, last).to_pandas()
    source = pd.read_parquet(RECORDED / f"{venue}_{bar}/{symbol}.parquet")
    stamp = source["timestamp"].dt.tz_convert(None)
    inside = source[(stamp >= pd.Timestamp(first)) & (stamp < pd.Timestamp(last) + pd.Timedelta(days=1))]
    assert np.array_equal(stored[VALUES[2:]].to_numpy(), inside[VALUES[2:]].to_numpy())


def test_a_year_of_yahoos_days_takes_one_request_and_reaches_to_the_listing():
    feed = YahooFeed(FeedSettings(), lambda: datetime.now(UTC), interval="1d")
    assert feed.window_days(AAPL) > 30_000
