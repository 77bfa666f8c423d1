"""Sessions that cross midnight, break for lunch or last all day, and which of them an asset follows."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.feeds.yahoo_symbols import CALENDAR_OF_INDEX, CALENDAR_OF_SUFFIX
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.quality import validate_candles
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment, FeedSettings
from crossattn_core.trading_calendar import closing_times, expected_bars, opening_bells, session_bounds, session_days
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.candles.test_yahoo import feed_of
from tests.servers.yahoo import YahooServer

START, END = datetime(2024, 9, 2), datetime(2025, 9, 1)


def moments(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[us]")


@pytest.mark.parametrize("calendar", ["XLON", "XETR", "XTKS", "XHKG", "XASX", "XNZE", "XBOM", "24/5"])
@pytest.mark.parametrize("period", ["1h", "30min", "5min"])
def test_bars_are_those_of_the_exchanges_own_index(calendar: str, period: str) -> None:
    known = exchange_calendars.get_calendar(calendar, start="2024-08-01", end="2025-10-01").trading_index(
        "2024-08-05", "2025-09-26", period, intervals=True, closed="left", force_close=True, force_break_close=True
    )
    opened, closed = (side.tz_convert(None).to_numpy().astype("datetime64[us]") for side in (known.left, known.right))
    inside = (closed > np.datetime64(START)) & (closed <= np.datetime64(END))
    bars = expected_bars(calendar, START, END, pd.Timedelta(period).to_pytimedelta())
    np.testing.assert_array_equal(bars.opened_T, opened[inside])
    np.testing.assert_array_equal(bars.closed_T, closed[inside])
    np.testing.assert_array_equal(closing_times(calendar, bars.opened_T, pd.Timedelta(period).to_pytimedelta()), bars.closed_T)


def test_tokyo_rests_for_lunch_and_both_halves_are_one_session() -> None:
    bars = expected_bars("XTKS", datetime(2025, 3, 9), datetime(2025, 3, 11))
    spans = [
        f"{opened:%H:%M}-{closed:%H:%M}" for opened, closed in zip(bars.opened_T.tolist(), bars.closed_T.tolist(), strict=True)
    ]
    assert spans == ["00:00-01:00", "01:00-02:00", "02:00-02:30", "03:30-04:30", "04:30-05:30", "05:30-06:30"]
    assert len(set(bars.session_T.tolist())) == 1
    day = expected_bars("XTKS", datetime(2025, 3, 9), datetime(2025, 3, 11), timedelta(days=1))
    assert (day.opened_T[0], day.closed_T[0]) == (np.datetime64("2025-03-10T00:00"), np.datetime64("2025-03-10T06:30"))


def test_globex_rests_for_an_hour_before_it_opens_anew() -> None:
    bars = expected_bars("CMES", datetime(2025, 3, 9), datetime(2025, 3, 12))
    assert [f"{bars.opened_T[0].item():%d %H:%M}", len(bars)] == ["09 22:00", 48]
    opened = pd.DatetimeIndex(bars.opened_T)
    assert not (opened.hour == 21).any()


@pytest.mark.parametrize(
    ("calendar", "stamp", "opened", "closed"),
    [
        ("XASX", "2025-03-10T00:00", "2025-03-09T23:00", "2025-03-10T05:00"),  # the date, in UTC
        ("XASX", "2025-03-09T13:00", "2025-03-09T23:00", "2025-03-10T05:00"),  # midnight in Sydney
        ("XASX", "2025-03-09T23:00", "2025-03-09T23:00", "2025-03-10T05:00"),  # the opening bell
        ("XNZE", "2025-03-10T00:00", "2025-03-09T21:00", "2025-03-10T03:45"),
        ("CMES", "2025-03-10T00:00", "2025-03-09T22:00", "2025-03-10T21:00"),
        ("CMES", "2025-03-09T22:00", "2025-03-09T22:00", "2025-03-10T21:00"),
        ("XTKS", "2025-03-10T00:00", "2025-03-10T00:00", "2025-03-10T06:30"),
        ("XTKS", "2025-03-09T15:00", "2025-03-10T00:00", "2025-03-10T06:30"),
        ("XLON", "2025-07-07T00:00", "2025-07-07T07:00", "2025-07-07T15:30"),
        ("XLON", "2025-07-06T23:00", "2025-07-07T07:00", "2025-07-07T15:30"),
        ("24/5", "2025-03-10T00:00", "2025-03-10T00:00", "2025-03-11T00:00"),
    ],
)
def test_a_daily_candle_is_the_session_of_its_exchanges_date(calendar: str, stamp: str, opened: str, closed: str) -> None:
    opened_T, closed_T = session_days(calendar, moments(stamp))
    assert (opened_T[0], closed_T[0]) == (np.datetime64(opened), np.datetime64(closed))


def test_a_dividend_goes_ex_with_the_session_of_its_date() -> None:
    for calendar, bell in (("XASX", "2025-03-09T23:00"), ("CMES", "2025-03-09T22:00"), ("XNYS", "2025-03-10T13:30")):
        for stamp in ("2025-03-10", bell):
            assert opening_bells(calendar, moments(stamp))[0] == np.datetime64(bell), (calendar, stamp)
    assert opening_bells("XNYS", moments("2025-03-09T12:00"))[0] == np.datetime64("2025-03-09T12:00")


@pytest.mark.parametrize(
    ("symbol", "category", "calendar", "market"),
    [
        ("AAPL", "equity", "XNYS", "stocks"),
        ("BRK-B", "equity", "XNYS", "stocks"),
        ("VOD.L", "equity", "XLON", "stocks"),
        ("7203.T", "equity", "XTKS", "stocks"),
        ("SAP.DE", "equity", "XETR", "stocks"),
        ("M&M.NS", "equity", "XBOM", "stocks"),
        ("BHP.AX", "equity", "XASX", "stocks"),
        ("^GSPC", "index", "XNYS", "stocks"),
        ("^N225", "index", "XTKS", "stocks"),
        ("EURUSD=X", "currency", "24/5", "currencies"),
        ("ES=F", "future", "CMES", "futures"),
        ("BTC-USD", "crypto", "24/7", "crypto"),
    ],
)
def test_a_yahoo_symbol_says_its_class_and_calendar(symbol: str, category: str, calendar: str, market: str) -> None:
    asset = Asset(venue="yahoo", symbol=symbol)
    assert (asset.category, asset.calendar, asset.market) == (category, calendar, market)
    assert asset.pays_dividends == (category == "equity")
    assert Asset.model_validate(asset.model_dump()) == asset


def test_every_calendar_of_the_table_can_be_made() -> None:
    for calendar in {*CALENDAR_OF_SUFFIX.values(), *CALENDAR_OF_INDEX.values()}:
        assert len(session_bounds(calendar)[0]) > 1000, calendar


def test_an_unknown_suffix_is_refused_with_the_way_out_and_the_users_calendar_counts() -> None:
    with pytest.raises(ValidationError, match=r"no calendar is known for Yahoo's suffix \.XX .* calendar: XNYS"):
        Asset(venue="yahoo", symbol="ABC.XX")
    asset = Asset(venue="yahoo", symbol="ABC.XX", calendar="XLON")
    assert asset.calendar == "XLON"
    assert Asset.model_validate(asset.model_dump()) == asset
    with pytest.raises(ValidationError, match="no exchange calendar is called 'XLOM'; use 24/7 or one of"):
        Asset(venue="yahoo", symbol="VOD.L", calendar="XLOM")
    with pytest.raises(HistoryError, match="exchange_calendars cannot make it"):
        session_bounds("ASEX")


def test_a_calendar_that_the_venue_says_anyway_is_no_other_asset() -> None:
    said, plain = (Asset(venue="yahoo", symbol="VOD.L", calendar=calendar) for calendar in ("XLON", ""))
    assert "calendar" not in plain.model_dump()
    universes = [Experiment(assets=(asset, Asset(venue="yahoo", symbol="BP.L"))) for asset in (said, plain)]
    assert universes[0].content_hash() == universes[1].content_hash()
    assert Asset(venue="yahoo", symbol="VOD.L", calendar="XNYS").model_dump()["calendar"] == "XNYS"


@pytest.mark.parametrize("symbol", ["VOD.L", "7203.T", "BHP.AX", "M&M.NS", "^GSPC", "EURUSD=X", "ES=F", "BTC-USD"])
@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_candles_of_every_class_arrive_whole(symbol: str, interval: str) -> None:
    asset = Asset(venue="yahoo", symbol=symbol)
    start, end = datetime(2025, 6, 24), datetime(2025, 7, 12)
    hourly = plain_candles(asset, datetime(2025, 5, 1), datetime(2025, 8, 1))
    with YahooServer({symbol: hourly}, lambda: datetime(2025, 9, 1)) as server:
        server.calendars[symbol] = asset.calendar
        step = timedelta(days=1) if interval == "1d" else timedelta(hours=1)
        rows = feed_of(server, interval=interval).candles(asset, start, end)
        bars = expected_bars(asset.calendar, start, end, step)
        np.testing.assert_array_equal(rows["opened_at"], bars.opened_T)
        np.testing.assert_array_equal(rows["closed_at"], bars.closed_T)
        result = validate_candles(rows, asset, datetime(2025, 9, 1), interval=step)
        assert result.refused.empty, result.refused["reason"].value_counts()
        if interval == "1h":
            given = hourly[(hourly["closed_at"] > start) & (hourly["closed_at"] <= end)]
            for name in ("open", "high", "low", "close", "volume"):
                np.testing.assert_array_equal(rows[name], given[name])


@pytest.mark.parametrize("symbol", ["M&M.NS", "EURUSD=X", "^N225", "7203.T"])
def test_symbols_with_signs_are_files_and_folders(tmp_path: Path, symbol: str) -> None:
    asset = Asset(venue="yahoo", symbol=symbol)
    candles = plain_candles(asset, datetime(2025, 3, 1), datetime(2025, 4, 1))
    folder = "yahoo_1h" if asset.category == "equity" else f"yahoo_{asset.category}_1h"
    (tmp_path / folder).mkdir()
    candles.rename(columns={"opened_at": "timestamp"})[["timestamp", "open", "high", "low", "close", "volume"]].to_parquet(
        tmp_path / folder / f"{symbol}.parquet"
    )
    lake, feed = Lake(tmp_path / "lake", "files"), FilesFeed(tmp_path, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    ingest("candles", feed, lake, (asset,), date(2025, 3, 1), date(2025, 3, 31), settings=FeedSettings())
    stored = lake.read_candles(None, date(2025, 3, 1), date(2025, 3, 31)).to_pandas().sort_values("closed_at")
    np.testing.assert_array_equal(stored["close"], candles["close"])
    np.testing.assert_array_equal(stored["closed_at"], candles["closed_at"])
