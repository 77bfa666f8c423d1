"""However a range was fetched, in pieces, backwards or at once, the lake ends the same; and it notices what was done to it."""

import shutil
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError, HistoryError
from tests.candles.ingests import AAPL, BTC, ETH, FIRST, LAST, LONG_AFTER, feed_of, ingest_candles


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path, "scripted")


def test_the_order_of_fetching_does_not_matter(tmp_path):
    forth, back = Lake(tmp_path / "forth", "scripted"), Lake(tmp_path / "back", "scripted")
    first, last = date(2025, 3, 1), date(2025, 3, 8)
    ingest_candles(feed_of(BTC, ETH), forth, BTC, ETH, first=first, last=last)
    for day in reversed(range(1, 9)):
        ingest_candles(feed_of(ETH, BTC), back, ETH, BTC, first=date(2025, 3, day), last=date(2025, 3, day))
    assert forth.read_candles(None, first, last).equals(back.read_candles(None, first, last))
    assert forth.day_hashes("bybit", first, last) == back.day_hashes("bybit", first, last)


def test_the_hash_of_a_day_does_not_depend_on_when_it_was_fetched(tmp_path):
    hashes = []
    for place, now in enumerate((LONG_AFTER, LONG_AFTER + timedelta(days=3))):
        lake = Lake(tmp_path / str(place), "scripted")
        ingest_candles(feed_of(BTC, now=now), lake, BTC)
        hashes.append(lake.day_hashes("bybit", FIRST, LAST))
    assert hashes[0] == hashes[1]


def test_the_truth_that_reaches_furthest_stays(lake):
    reaches = {until: {"until": until, "settings": {"seed": 1}, "regimes": [until]} for until in ("2025-03-01", "2025-06-01")}
    assert lake.read_truth() is None
    for until in ("2025-03-01", "2025-06-01", "2025-03-01"):
        lake.store_truth(reaches[until])
    assert lake.read_truth() == reaches["2025-06-01"]
    lake.store_truth({**reaches["2025-03-01"], "settings": {"seed": 2}})
    assert lake.read_truth()["settings"] == {"seed": 2}


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 24 * 14)), max_size=6),
    st.sets(st.integers(0, 24 * 12), max_size=20),
)
def test_however_a_range_was_fetched_the_lake_ends_the_same(steps, holes):
    first, last = date(2025, 3, 1), date(2025, 3, 12)
    with TemporaryDirectory() as folder:
        lakes = [Lake(Path(folder) / name, "scripted") for name in ("pieces", "whole")]
        feeds = [feed_of(BTC, AAPL, gap_attempts=99, window_days=4) for _ in lakes]
        whole = feeds[0].tables[BTC.asset_id]
        begin = whole["closed_at"].searchsorted(pd.Timestamp(first), side="right")
        feeds[0].tables[BTC.asset_id] = whole.drop(index=[begin + place for place in holes])
        for one, other, hour in steps:
            feeds[0].at = datetime(2025, 3, 1) + timedelta(hours=hour)
            span = sorted((date(2025, 3, 1 + one), date(2025, 3, 1 + other)))
            with suppress(HistoryError):
                ingest_candles(feeds[0], lakes[0], BTC, AAPL, first=span[0], last=span[1])
        feeds[0].tables[BTC.asset_id], feeds[0].at = whole, LONG_AFTER
        results = [ingest_candles(feed, lake, BTC, AAPL, first=first, last=last) for feed, lake in zip(feeds, lakes, strict=True)]
        tables = [lake.read_candles(None, first, last).drop_columns("fetched_at") for lake in lakes]
        assert tables[0].equals(tables[1])
        assert [(day.rows, day.gaps, day.content_hash) for day in results[0]] == [
            (day.rows, day.gaps, day.content_hash) for day in results[1]
        ]
        assert lakes[0].read_revisions(first, last).num_rows == 0


def test_deleting_the_month_cache_changes_nothing(lake):
    ingest_candles(feed_of(BTC, AAPL), lake, BTC, AAPL)
    cached = lake.read_candles(None, FIRST, LAST)
    shutil.rmtree(lake.folder / "compact")
    assert lake.read_candles(None, FIRST, LAST).equals(cached)
    assert lake.read_candles(None, FIRST, LAST).equals(cached)


def test_a_damaged_file_is_found_by_name(lake):
    ingest_candles(feed_of(BTC), lake, BTC)
    assert lake.verify() == []
    path = lake.folder / "candles/bybit/linear/BTCUSDT/2025-03-07.parquet"
    path.write_bytes(b"PAR1 nonsense")
    (lake.folder / "candles/bybit/linear/BTCUSDT/2025-03-08.parquet").unlink()
    assert [fault.split(":")[0].split("/")[-1] for fault in lake.verify()] == ["2025-03-07.parquet", "2025-03-08.parquet"]
    with pytest.raises(CandleError, match=r"2025-03-07\.parquet: the ledger names this file"):
        lake.read_candles("bybit", date(2025, 3, 7), date(2025, 3, 7))
