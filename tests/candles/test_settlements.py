"""Lost funding is seen whatever the interval; a settlement that is stamped a little late belongs to its hour."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.ingest.settlements import settlements_called_for
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from tests.candles.ingests import BTC
from tests.candles.scripted import plain_candles
from tests.candles.test_malformed import bybit, bybit_feed
from tests.servers.bybit import Listing

FIRST, LAST = date(2025, 3, 1), date(2025, 3, 20)


def settled(hours: int, start: str = "2025-02-20", end: str = "2025-03-31") -> pd.DataFrame:
    stamps = pd.date_range(start, end, freq=f"{hours}h").as_unit("us")
    return pd.DataFrame({"settled_at": stamps, "rate": 0.0001 + np.arange(len(stamps)) * 1e-7})


def ingested(tmp_path, funding: pd.DataFrame, minutes: int | None = None):
    with bybit() as server:
        candles = plain_candles(BTC, datetime(2025, 2, 1), datetime(2025, 5, 1))
        server.listings["linear", "BTCUSDT"] = Listing(candles, funding=funding, funding_minutes=minutes)
        lake = Lake(tmp_path, "api")
        return lake, ingest("funding", bybit_feed(server), lake, (BTC,), FIRST, LAST, settings=FeedSettings())


def test_every_second_of_four_hourly_settlements_is_missed_by_the_sources_interval(tmp_path):
    _, days = ingested(tmp_path, settled(4).iloc[::2], minutes=240)
    assert {(day.rows, day.expected_rows, day.gaps) for day in days} == {(3, 6, 3)}
    assert all(day.lacking for day in days)


@pytest.mark.parametrize(("hours", "minutes"), [(8, 480), (8, None), (4, 240), (4, None), (2, 120), (1, 60), (1, None)])
def test_what_is_whole_is_complete_whatever_the_interval(tmp_path, hours, minutes):
    _, days = ingested(tmp_path, settled(hours), minutes)
    assert {(day.rows, day.expected_rows, day.gaps) for day in days} == {(24 // hours, 24 // hours, 0)}


def test_without_an_interval_the_days_around_say_what_is_missing(tmp_path):
    whole = settled(4)
    inside = whole["settled_at"].between("2025-03-10 00:00:01", "2025-03-11")
    _, days = ingested(tmp_path, whole[~inside | (whole["settled_at"].dt.hour % 8 == 0)])
    assert {day.day: day.gaps for day in days if day.gaps} == {date(2025, 3, 10): 3}


def test_hours_that_no_longer_interval_meets_say_what_is_missing(tmp_path):
    _, days = ingested(tmp_path, settled(4).iloc[1::2])  # 04:00, 12:00, 20:00
    assert {(day.rows, day.gaps) for day in days} == {(3, 3)}


def test_an_interval_that_became_shorter_is_expected_from_then_on(tmp_path):
    before, after = settled(8, end="2025-03-10"), settled(4, start="2025-03-10 04:00")
    _, days = ingested(tmp_path, pd.concat([before, after], ignore_index=True), minutes=240)
    assert {day.gaps for day in days} == {0}
    assert {day.expected_rows for day in days if day.day < date(2025, 3, 10)} == {3}


def test_an_interval_that_became_longer_is_no_loss():
    days = [FIRST + timedelta(days=place) for place in range(8)]
    stamps = pd.concat([settled(4, "2025-03-01 04:00", "2025-03-05"), settled(8, "2025-03-05 08:00", "2025-03-09")])
    called = settlements_called_for(days, stamps["settled_at"].to_numpy(), {}, None)
    assert list(called.values()) == [6, 6, 6, 6, 3, 3, 3, 3]


@pytest.mark.parametrize("late", [3, 250, 5_000])
def test_a_settlement_stamped_milliseconds_late_belongs_to_its_hour(tmp_path, late):
    funding = settled(8)
    delay = pd.Timedelta(milliseconds=late)
    lake, days = ingested(tmp_path, funding.assign(settled_at=funding["settled_at"] + delay))
    assert {(day.rows, day.gaps) for day in days} == {(3, 0)}
    stored = lake.read_funding(FIRST, LAST).to_pandas()
    expected = funding[(funding["settled_at"] > "2025-03-01") & (funding["settled_at"] <= "2025-03-21")]
    assert stored["settled_at"].tolist() == expected["settled_at"].tolist()
    assert stored["rate"].tolist() == expected["rate"].tolist()
