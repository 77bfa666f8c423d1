"""A folder of candles is read as it lies; what is wrong with it is said once, with the remedy."""

import os
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import HistoryError, PermanentFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.recorded import RECORDED, needs_recorded

BTC = Asset(venue="bybit", symbol="BTCUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
START, END = datetime(2025, 3, 7), datetime(2025, 3, 8)


def clock() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def write_hours(path, opened: list[str] | list[int], **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame({"timestamp": opened, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0, **columns})
    rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_parquet_and_csv_give_the_same_candles(tmp_path, suffix):
    write_hours(tmp_path / f"bybit_1h/BTCUSDT.{suffix}", ["2025-03-07 00:00:00+00:00"])
    rows = FilesFeed(tmp_path, clock).candles(BTC, START, END)
    assert rows["opened_at"].tolist() == [pd.Timestamp("2025-03-07 00:00")]
    assert rows["closed_at"].tolist() == [pd.Timestamp("2025-03-07 01:00")]
    assert rows["asset_id"].tolist() == ["bybit:linear:BTCUSDT"]
    assert np.isnan(rows["turnover"]).all()


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_counts_since_1970_are_read_in_their_unit(tmp_path, unit):
    write_hours(tmp_path / "bybit_1h/BTCUSDT.csv", [1_741_305_600 * unit])
    rows = FilesFeed(tmp_path, clock).candles(BTC, START, END)
    assert rows["opened_at"].tolist() == [pd.Timestamp("2025-03-07 00:00")]


def test_the_last_bar_of_a_session_closes_at_the_bell(tmp_path):
    write_hours(tmp_path / "yahoo_1h/AAPL.csv", ["2025-03-07 19:30", "2025-03-07 20:30", "2024-11-29 17:30"])
    rows = FilesFeed(tmp_path, clock).candles(AAPL, datetime(2024, 1, 1), END)
    assert rows["closed_at"].tolist() == [
        pd.Timestamp("2025-03-07 20:30"),
        pd.Timestamp("2025-03-07 21:00"),
        pd.Timestamp("2024-11-29 18:00"),
    ]


def test_another_category_has_a_folder_of_its_own(tmp_path):
    write_hours(tmp_path / "bybit_spot_1h/BTCUSDT.csv", ["2025-03-07 00:00"])
    spot = Asset(venue="bybit", symbol="BTCUSDT", category="spot")
    assert len(FilesFeed(tmp_path, clock).candles(spot, START, END)) == 1
    with pytest.raises(PermanentFeedError, match="no such folder"):
        FilesFeed(tmp_path, clock).candles(BTC, START, END)


def test_a_candle_that_closes_after_the_clock_stays_in_the_file(tmp_path):
    write_hours(tmp_path / "bybit_1h/BTCUSDT.csv", ["2025-03-07 00:00", "2025-03-07 01:00"])
    feed = FilesFeed(tmp_path, lambda: datetime(2025, 3, 7, 1, 59, tzinfo=UTC))
    assert len(feed.candles(BTC, START, END)) == 1


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "bybit_1h/BTCUSDT.csv"
    write_hours(path, ["2025-03-07 00:00"])
    feed = FilesFeed(tmp_path, clock)
    assert len(feed.candles(BTC, START, END)) == 1
    write_hours(path, ["2025-03-07 00:00", "2025-03-07 01:00"])
    os.utime(path, ns=(1, 1))
    assert len(feed.candles(BTC, START, END)) == 2


def test_a_missing_root_says_which_knob_names_it(tmp_path):
    with pytest.raises(PermanentFeedError, match=r"nowhere: no such folder; feed\.folder"):
        FilesFeed(tmp_path / "nowhere", clock).candles(BTC, START, END)


def test_an_unknown_symbol_names_the_nearest_file(tmp_path):
    write_hours(tmp_path / "yahoo_1h/AAPL.csv", ["2025-03-07 19:30"])
    with pytest.raises(PermanentFeedError, match=r"no file for APPL; did you mean AAPL\?"):
        FilesFeed(tmp_path, clock).candles(Asset(venue="yahoo", symbol="APPL"), START, END)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("timestamp,open,high,low,close\n2025-03-07,1,1,1,1\n", "no column volume"),
        ("time,open,high,low,close,volume\n2025-03-07,1,1,1,1,1\n", "no column opened_at or timestamp"),
        ("timestamp,open,high,low,close,volume\nyesterday,1,1,1,1,1\n", "holds no instants"),
        ("", "cannot be read as csv"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_column(tmp_path, content, message):
    (tmp_path / "bybit_1h").mkdir()
    (tmp_path / "bybit_1h/BTCUSDT.csv").write_text(content)
    with pytest.raises(PermanentFeedError, match=message):
        FilesFeed(tmp_path, clock).candles(BTC, START, END)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "bybit_1h").mkdir()
    (tmp_path / "bybit_1h/BTCUSDT.parquet").write_text("not parquet")
    with pytest.raises(PermanentFeedError, match="cannot be read as parquet"):
        FilesFeed(tmp_path, clock).candles(BTC, START, END)


def test_no_funding_file_means_no_funding_and_no_error(tmp_path):
    assert FilesFeed(tmp_path, clock).funding(BTC, START, END).empty


@needs_recorded
def test_the_recorded_candles_are_read_as_they_are():
    feed = FilesFeed(RECORDED, clock)
    assert len(feed.candles(BTC, datetime(2025, 3, 1), datetime(2025, 3, 2))) == 24
    assert len(feed.candles(AAPL, datetime(2025, 3, 7), datetime(2025, 3, 8))) == 7
    assert feed.funding(BTC, datetime(2024, 1, 1), datetime(2025, 1, 1))["rate"].sum() == pytest.approx(0.12, abs=0.005)
    assert feed.listed(AAPL) is None


@needs_recorded
def test_a_folder_whose_aapl_holds_bitcoin_stores_nothing_and_says_why(tmp_path):
    contaminated = pd.read_parquet(RECORDED / "quirks/cross_ticker_contamination_AAPL_1d.parquet")
    (tmp_path / "yahoo_1h").mkdir()
    contaminated.rename(columns={"time": "timestamp"}).to_parquet(tmp_path / "yahoo_1h/AAPL.parquet")
    lake = Lake(tmp_path / "lake", "files")
    span = (date(2021, 1, 1), date(2021, 12, 31))
    with pytest.raises(HistoryError, match="candles were refused: much of the response lies outside the venue's sessions"):
        ingest("candles", FilesFeed(tmp_path, clock), lake, (AAPL,), *span, settings=FeedSettings())
    assert lake.read_candles(None, *span).num_rows == 0
    assert lake.read_quarantine(*span).num_rows == 365
