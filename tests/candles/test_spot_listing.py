"""Spot has no launch time: an asset began with its first candle where the pages before it are empty, and the ledger says so."""

import json
from datetime import date, datetime

import pandas as pd
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.candles.test_malformed import bybit, bybit_feed
from tests.servers.bybit import Listing

SPOT = Asset(venue="bybit", symbol="NEWUSDT", category="spot")
OLD = Asset(venue="bybit", symbol="BTCUSDT", category="spot")
FIRST, LAST = date(2025, 1, 1), date(2025, 4, 30)


def ingested(lake: Lake, candles: dict[Asset, pd.DataFrame], first: date = FIRST):
    with bybit() as server:
        server.listings |= {("spot", asset.symbol): Listing(rows) for asset, rows in candles.items()}
        return ingest("candles", bybit_feed(server), lake, tuple(candles), first, LAST, settings=FeedSettings())


@pytest.mark.parametrize("began", [datetime(2025, 3, 5, 7), datetime(2025, 1, 6), datetime(2025, 4, 29, 12)])
def test_spot_that_is_listed_in_mid_period_is_complete_from_its_first_candle(tmp_path, began):
    lake = Lake(tmp_path, "api")
    end = datetime(2025, 5, 10)
    days = ingested(lake, {SPOT: plain_candles(SPOT, began, end), OLD: plain_candles(OLD, datetime(2024, 6, 1), end)})
    assert {day.gaps for day in days} == {0}
    assert all(day.complete for day in days)
    rows = lake.read_candles(None, FIRST, LAST).to_pandas()
    assert rows.loc[rows["asset_id"] == SPOT.asset_id, "opened_at"].min() == began
    requests = [json.loads(row) for (row,) in lake.ledger.rows("windows", ("request",), "asset_id = ?", (SPOT.asset_id,))]
    assert {row["listed_by_first_candle"] for row in requests if "listed_by_first_candle" in row} == {began.isoformat()}


def test_a_hole_at_the_start_of_the_period_is_no_listing(tmp_path):
    whole = plain_candles(OLD, datetime(2024, 12, 20), datetime(2025, 5, 10))
    gone = (whole["closed_at"] > datetime(2025, 1, 1)) & (whole["closed_at"] <= datetime(2025, 1, 4))
    days = ingested(Lake(tmp_path, "api"), {OLD: whole[~gone]})
    assert {day.day.day: day.gaps for day in days if day.gaps} == {1: 24, 2: 24, 3: 24}


def test_a_hole_behind_stored_candles_is_no_listing(tmp_path):
    lake, whole = Lake(tmp_path, "api"), plain_candles(OLD, datetime(2024, 12, 1), datetime(2025, 5, 10))
    gone = (whole["closed_at"] > datetime(2025, 2, 1)) & (whole["closed_at"] <= datetime(2025, 4, 20))
    days = ingested(lake, {OLD: whole[~gone]})
    assert sum(day.gaps for day in days) == 24 * 78
