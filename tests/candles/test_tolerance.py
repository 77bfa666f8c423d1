"""How much an asset's day may lack: judged by asset and day, not pooled, and the holes of a source that are few pass."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.coverage import coverage_of, lacking
from crossattn_core.candles.lake.ledger import Coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.ingests import AAPL, BTC, FIRST, LAST, feed_of

COINS = tuple(Asset(venue="bybit", symbol=f"{name}USDT") for name in "ABCDEFGHIJ")


def days_of(expected: int, gaps: list[int]) -> list[Coverage]:
    days = [(FIRST + timedelta(days=place)).isoformat() for place in range(len(gaps))]
    return [Coverage("candles", "a", "v", day, "", expected=expected, gaps=count) for day, count in zip(days, gaps, strict=True)]


def test_one_of_ten_assets_without_five_whole_days_is_named_on_these_days(tmp_path):
    feed, lake = feed_of(*COINS), Lake(tmp_path, "scripted")
    table = feed.tables[COINS[3].asset_id]
    gone = (table["closed_at"] > datetime(2025, 3, 10)) & (table["closed_at"] <= datetime(2025, 3, 15))
    feed.tables[COINS[3].asset_id] = table[~gone]
    days = ingest("candles", feed, lake, COINS, FIRST, LAST, settings=FeedSettings())
    assert sum(day.gaps for day in days) / sum(day.expected_rows for day in days) < 0.02
    assert {day.day.day: day.lacking for day in days if day.lacking} == dict.fromkeys(range(10, 15), (COINS[3].asset_id,))
    found = coverage_of(lake, COINS, FIRST, LAST, 0.02)
    assert [row.is_complete for row in found if row.kind == "candles"] == [coin != COINS[3] for coin in COINS]


@pytest.mark.parametrize(("asset", "share"), [(BTC, 0.004), (AAPL, 0.004)])
def test_the_few_holes_that_a_source_has_by_chance_pass(tmp_path, asset, share):
    feed, lake = feed_of(asset), Lake(tmp_path, "scripted")
    table = feed.tables[asset.asset_id]
    feed.tables[asset.asset_id] = table[np.random.default_rng(3).random(len(table)) >= share]
    days = ingest("candles", feed, lake, (asset,), FIRST, LAST, settings=FeedSettings())
    assert sum(day.gaps for day in days) > 0
    assert not any(day.lacking for day in days)


@pytest.mark.parametrize(
    ("expected", "gaps", "tolerance", "fails"),
    [
        (24, [0, 2, 0, 3, 24], 0.02, [3, 4]),
        (7, [1, 0, 2, 0, 0, 0, 0, 0], 0.02, [2]),
        (24, [1, 0], 0.0, [0]),
        (24, [2] * 30, 0.02, list(range(30))),  # each day by itself might be chance
        (1440, [29, 80], 0.02, [1]),
        (1, [1] + [0] * 249, 0.02, []),
        (1, [1] * 20 + [0] * 230, 0.02, list(range(20))),
        (0, [0] * 5, 0.02, []),
        (24, [6], 0.1, []),
    ],
)
def test_what_a_day_and_all_days_may_lack(expected, gaps, tolerance, fails):
    assert lacking(days_of(expected, gaps), tolerance) == {(FIRST + timedelta(days=place)).isoformat() for place in fails}


def test_a_short_asset_is_judged_by_its_own_days(tmp_path):
    """A stock's day has seven candles: two of them are no chance, though they are one in eighty of the venue's day."""
    feed, lake = feed_of(AAPL, BTC), Lake(tmp_path, "scripted")
    table = feed.tables[AAPL.asset_id]
    gone = [datetime(2025, 3, 12, 15, 30), datetime(2025, 3, 12, 16, 30)]
    feed.tables[AAPL.asset_id] = table[~table["closed_at"].isin(gone)]
    days = ingest("candles", feed, lake, (AAPL, BTC), FIRST, LAST, settings=FeedSettings())
    assert [(day.day, day.lacking) for day in days if day.lacking] == [(date(2025, 3, 12), (AAPL.asset_id,))]
