"""A later value is adopted only when someone says so, and both values stay on record."""

from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.revisions import adopt_revisions, retire_history, revisions_beyond
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.scripted import ScriptedFeed, plain_candles

BTC = Asset(venue="bybit", symbol="BTCUSDT")
FIRST, LAST = date(2025, 3, 1), date(2025, 3, 20)
NOW = datetime(2025, 6, 1)
REVISED_AT = pd.Timestamp("2025-03-18 12:00")


@pytest.fixture
def feed() -> ScriptedFeed:
    return ScriptedFeed({BTC.asset_id: plain_candles(BTC, datetime(2025, 2, 1), datetime(2025, 5, 1))}, NOW)


@pytest.fixture
def lake(tmp_path, feed) -> Lake:
    """A lake whose source has changed one close by 0.04% and its volume by half since."""
    lake = Lake(tmp_path, "scripted")
    ingest_candles(feed, lake)
    table = feed.tables[BTC.asset_id]
    at = table["closed_at"] == REVISED_AT
    table.loc[at, "close"] *= 1.0004
    table.loc[at, ["volume", "turnover"]] *= 1.5
    feed.at += timedelta(days=1)
    ingest_candles(feed, lake, refresh_from=date(2025, 3, 15))
    return lake


def ingest_candles(feed: ScriptedFeed, lake: Lake, **more):
    return ingest("candles", feed, lake, (BTC,), FIRST, LAST, settings=FeedSettings(), **more)


def close_of(lake: Lake) -> float:
    rows = lake.read_candles("bybit", FIRST, LAST).to_pandas().set_index("closed_at")
    return rows.loc[REVISED_AT, "close"]


def test_only_price_revisions_beyond_the_tolerance_count(lake):
    revisions = lake.read_revisions(FIRST, LAST)
    assert revisions.num_rows == 3
    assert revisions_beyond(revisions, 1e-6).column("field").to_pylist() == ["close"]
    assert revisions_beyond(revisions, 1e-3).num_rows == 0


def test_a_venue_whose_name_another_one_begins_with_gets_nothing_of_the_others(lake):
    assert lake.read_revisions(FIRST, LAST, venue="bybit").num_rows == 3
    assert lake.read_revisions(FIRST, LAST, venue="byb").num_rows == 0


def test_adopting_changes_the_named_days_and_their_hash_and_nothing_else(lake, feed):
    before = lake.read_candles("bybit", FIRST, LAST).to_pandas()
    hashes = lake.day_hashes("bybit", FIRST, LAST)
    assert adopt_revisions(lake, BTC, date(2025, 3, 1), date(2025, 3, 17), NOW) == 0
    assert lake.day_hashes("bybit", FIRST, LAST) == hashes
    assert adopt_revisions(lake, BTC, FIRST, LAST, NOW) == 3
    after = lake.read_candles("bybit", FIRST, LAST).to_pandas()
    differs = (before.drop(columns="fetched_at") != after.drop(columns="fetched_at")).any(axis=1) & before["turnover"].notna()
    assert after.loc[differs, "closed_at"].tolist() == [REVISED_AT]
    changed = [day for day, named in lake.day_hashes("bybit", FIRST, LAST).items() if named != hashes[day]]
    assert changed == [date(2025, 3, 18)]
    served = feed.tables[BTC.asset_id].set_index("closed_at").loc[REVISED_AT, "close"]
    assert close_of(lake) == served
    assert lake.verify() == []


def test_an_adopted_revision_no_longer_counts_and_is_not_found_again(lake, feed):
    adopt_revisions(lake, BTC, FIRST, LAST, NOW)
    assert revisions_beyond(lake.read_revisions(FIRST, LAST), 1e-6).num_rows == 0
    assert lake.read_revisions(FIRST, LAST).column("adopted_at").to_pylist() == [NOW] * 3
    days = ingest_candles(feed, lake, refresh_from=FIRST)
    assert sum(day.revisions for day in days) == 0


def test_the_first_file_of_a_day_stays_next_to_the_adopted_one(lake):
    adopt_revisions(lake, BTC, FIRST, LAST, NOW)
    names = sorted(path.name for path in (lake.folder / "candles/bybit/linear/BTCUSDT").glob("2025-03-18*"))
    assert names == ["2025-03-18.1.parquet", "2025-03-18.parquet"]


def test_a_retired_history_is_taken_in_again_and_its_files_are_kept(lake, feed):
    served = feed.tables[BTC.asset_id]
    served[["open", "high", "low", "close"]] /= 10
    served["volume"] *= 10
    aside = retire_history(lake, BTC, NOW)
    assert lake.day_hashes("bybit", FIRST, FIRST) == {FIRST: ""}
    days = ingest_candles(feed, lake)
    assert sum(day.gaps for day in days) == 0
    assert close_of(lake) == served.set_index("closed_at").loc[REVISED_AT, "close"]
    assert len(list(aside.glob("*.parquet"))) == 20


def test_retiring_what_was_never_stored_is_no_error(tmp_path):
    assert retire_history(Lake(tmp_path, "scripted"), BTC, NOW) is None
