"""An ingest fetches what is missing and nothing else, and the lake keeps what came first."""

from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, empty_rows
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.revisions import retire_history
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import FeedBlockedError, HistoryError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.progress import Progress
from tests.candles.ingests import AAPL, BTC, ETH, FIRST, LAST, LONG_AFTER, feed_of, ingest_candles
from tests.candles.scripted import ScriptedFeed


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path, "scripted")


def test_what_is_stored_is_what_the_source_gave(lake):
    feed = feed_of(BTC, AAPL)
    ingest_candles(feed, lake, BTC, AAPL)
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    assert tuple(stored.columns) == CANDLE_COLUMNS
    given = pd.concat([feed.candles(asset, datetime(2025, 3, 1), datetime(2025, 4, 1)) for asset in (BTC, AAPL)])
    pd.testing.assert_frame_equal(stored, given.reset_index(drop=True), check_exact=True, check_dtype=False)


def test_a_day_holds_what_closed_after_its_midnight_up_to_the_next(lake):
    ingest_candles(feed_of(BTC), lake, BTC)
    rows = lake.read_candles("bybit", date(2025, 3, 5), date(2025, 3, 5)).to_pandas()
    assert rows["closed_at"].iloc[0] == pd.Timestamp("2025-03-05 01:00")
    assert rows["closed_at"].iloc[-1] == pd.Timestamp("2025-03-06 00:00")
    assert len(rows) == 24


def test_each_day_is_counted_by_venue(lake):
    days = ingest_candles(feed_of(BTC, ETH, AAPL), lake, BTC, ETH, AAPL)
    by_key = {(day.venue, day.day): day for day in days}
    assert len(days) == 2 * 31
    crypto, saturday, monday = by_key["bybit", FIRST], by_key["yahoo", FIRST], by_key["yahoo", date(2025, 3, 3)]
    assert (crypto.rows, crypto.expected_rows, crypto.gaps) == (48, 48, 0)
    assert (saturday.rows, saturday.expected_rows, saturday.gaps, saturday.complete) == (0, 0, 0, True)
    assert (monday.rows, monday.first, monday.last) == (7, datetime(2025, 3, 3, 15, 30), datetime(2025, 3, 3, 21, 0))
    assert sum(day.requests for day in days) == 3 * 4


def test_a_second_ingest_fetches_nothing(lake):
    feed = feed_of(BTC, AAPL)
    before = ingest_candles(feed, lake, BTC, AAPL)
    asked = len(feed.asked)
    after = ingest_candles(feed, lake, BTC, AAPL)
    assert len(feed.asked) == asked
    assert [day.content_hash for day in after] == [day.content_hash for day in before]


def test_only_the_days_that_were_never_fetched_are_fetched(lake):
    feed = feed_of(BTC)
    ingest_candles(feed, lake, BTC, first=date(2025, 3, 5), last=date(2025, 3, 6))
    feed.asked.clear()
    ingest_candles(feed, lake, BTC, first=date(2025, 3, 4), last=date(2025, 3, 8))
    assert feed.asked == [
        ("BTCUSDT", datetime(2025, 3, 4), datetime(2025, 3, 5)),
        ("BTCUSDT", datetime(2025, 3, 7), datetime(2025, 3, 9)),
    ]


def test_fetched_and_empty_is_not_never_fetched(lake):
    ingest_candles(feed_of(AAPL), lake, AAPL)
    saturday, april = date(2025, 3, 1), date(2025, 4, 1)
    hashes = lake.day_hashes("yahoo", saturday, april)
    assert hashes[saturday] != ""
    assert hashes[april] == ""


def test_a_day_in_progress_is_fetched_again_and_grows(lake):
    feed = feed_of(BTC, now=datetime(2025, 3, 2, 7, 30))
    days = ingest_candles(feed, lake, BTC)
    assert (days[0].complete, days[1].complete, days[1].rows, days[1].expected_rows) == (True, False, 7, 7)
    assert days[2].content_hash == ""
    feed.at = datetime(2025, 3, 3)
    days = ingest_candles(feed, lake, BTC)
    assert (days[1].complete, days[1].rows) == (True, 24)
    assert feed.asked[-1] == ("BTCUSDT", datetime(2025, 3, 2), datetime(2025, 3, 3))
    fetched = lake.read_candles("bybit", date(2025, 3, 2), date(2025, 3, 2)).to_pandas()["fetched_at"]
    assert fetched.nunique() == 2


def test_a_hole_is_fetched_again_until_it_counts_as_the_sources_own(lake):
    feed = feed_of(BTC, gap_attempts=3)
    table = feed.tables[BTC.asset_id]
    hole = table["closed_at"] == pd.Timestamp("2025-03-10 05:00")
    feed.tables[BTC.asset_id] = table[~hole]
    days = ingest_candles(feed, lake, BTC)
    assert [day.day for day in days if day.gaps] == [date(2025, 3, 10)]
    feed.asked.clear()
    for _ in range(4):
        ingest_candles(feed, lake, BTC)
    assert feed.asked == [("BTCUSDT", datetime(2025, 3, 10), datetime(2025, 3, 11))] * 2


def test_a_hole_that_the_source_fills_is_filled(lake):
    feed = feed_of(BTC)
    table = feed.tables[BTC.asset_id]
    feed.tables[BTC.asset_id] = table[table["closed_at"] != pd.Timestamp("2025-03-10 05:00")]
    before = ingest_candles(feed, lake, BTC)
    feed.tables[BTC.asset_id] = table
    after = ingest_candles(feed, lake, BTC)
    assert sum(day.gaps for day in after) == 0
    changed = [a.day for a, b in zip(after, before, strict=True) if a.content_hash != b.content_hash]
    assert changed == [date(2025, 3, 10)]
    assert len(lake.read_candles("bybit", date(2025, 3, 10), date(2025, 3, 10))) == 24


def test_the_first_closed_value_is_the_one_that_history_uses(lake):
    feed = feed_of(BTC)
    ingest_candles(feed, lake, BTC)
    before = lake.read_candles("bybit", FIRST, LAST)
    hashes = lake.day_hashes("bybit", FIRST, LAST)
    revised = feed.tables[BTC.asset_id].copy()
    at = revised["closed_at"] == pd.Timestamp("2025-03-30 12:00")
    first_close, first_volume = revised.loc[at, "close"].item(), revised.loc[at, "volume"].item()
    revised.loc[at, "close"] *= 1.0005
    revised.loc[at, ["volume", "turnover"]] *= 2
    feed.tables[BTC.asset_id] = revised
    feed.at = LONG_AFTER + timedelta(days=1)
    days = ingest_candles(feed, lake, BTC, refresh_from=date(2025, 3, 25))
    assert lake.read_candles("bybit", FIRST, LAST).equals(before)
    assert lake.day_hashes("bybit", FIRST, LAST) == hashes
    assert {day.day: day.revisions for day in days if day.revisions} == {date(2025, 3, 30): 1}
    kept = lake.read_revisions(FIRST, LAST).to_pandas().set_index("field")
    assert set(kept.index) == {"close", "volume", "turnover"}
    assert kept.loc["close", "first_value"] == first_close
    assert kept.loc["close", "later_value"] == pytest.approx(first_close * 1.0005)
    assert kept.loc["volume", "later_value"] == 2 * first_volume
    assert kept.loc["close", "first_fetched_at"] == LONG_AFTER
    assert kept.loc["close", "later_fetched_at"] == LONG_AFTER + timedelta(days=1)
    assert kept["adopted_at"].isna().all()


def test_a_refused_candle_is_quarantined_with_its_reason_and_counts_as_a_gap(lake):
    feed = feed_of(BTC)
    table = feed.tables[BTC.asset_id]
    table.loc[table["closed_at"] == pd.Timestamp("2025-03-10 05:00"), "high"] = 1.0
    days = ingest_candles(feed, lake, BTC)
    bad = next(day for day in days if day.day == date(2025, 3, 10))
    assert (bad.rows, bad.gaps, bad.quarantined) == (23, 1, 1)
    kept = lake.read_quarantine(FIRST, LAST, venue="bybit").to_pylist()
    assert [(row["closed_at"], row["reason"], row["high"]) for row in kept] == [(datetime(2025, 3, 10, 5), "ohlc_order", 1.0)]


def test_other_assets_arrive_when_one_fails_for_good(lake):
    feed = feed_of(BTC, ETH)
    feed.failures = [PermanentFeedError("BTCUSDT: unknown")]
    with pytest.raises(PermanentFeedError, match="1 of 2 assets failed; what arrived is stored:\n  BTCUSDT: unknown"):
        ingest_candles(feed, lake, BTC, ETH)
    assert {row["asset_id"] for row in lake.read_candles(None, FIRST, LAST).to_pylist()} == {ETH.asset_id}


def test_a_transient_failure_costs_its_window_only_and_the_next_ingest_fetches_that(lake):
    feed = feed_of(BTC)
    feed.failures = [TransientFeedError("time-out")]
    with pytest.raises(TransientFeedError, match="time-out"):
        ingest_candles(feed, lake, BTC)
    feed.asked.clear()
    ingest_candles(feed, lake, BTC)
    assert feed.asked == [("BTCUSDT", datetime(2025, 3, 1), datetime(2025, 3, 11))]


def test_a_block_stops_the_ingest_at_once(lake):
    feed = feed_of(BTC, ETH)
    feed.failures = [FeedBlockedError("403")]
    with pytest.raises(FeedBlockedError):
        ingest_candles(feed, lake, BTC, ETH)
    assert len(feed.asked) == 1


def test_a_range_without_any_candle_is_an_error_that_names_range_and_asset(lake):
    feed = ScriptedFeed({BTC.asset_id: empty_rows("candles")}, LONG_AFTER)
    with pytest.raises(HistoryError, match=r"no candle between 2025-03-01 and 2025-03-31 for bybit:linear:BTCUSDT"):
        ingest_candles(feed, lake, BTC)


def test_a_weekend_without_stock_candles_is_no_error(lake):
    days = ingest_candles(feed_of(AAPL), lake, AAPL, first=date(2025, 3, 1), last=date(2025, 3, 2))
    assert [day.rows for day in days] == [0, 0]


def test_missing_funding_is_counted_and_no_error(lake):
    feed = feed_of(BTC, AAPL)
    days = ingest("funding", feed, lake, (BTC, AAPL), FIRST, LAST, settings=FeedSettings())
    assert {day.venue for day in days} == {"bybit"}
    assert all((day.rows, day.expected_rows, day.gaps) == (0, 3, 3) for day in days)
    assert lake.read_funding(FIRST, LAST).num_rows == 0
    assert lake.day_hashes("bybit", FIRST, FIRST, kind="funding")[FIRST] != ""


def test_the_day_before_a_new_one_is_fetched_again_and_its_revisions_are_found(lake):
    feed = feed_of(BTC, now=datetime(2025, 3, 11), rechecks_gaps=True)
    ingest_candles(feed, lake, BTC)
    table = feed.tables[BTC.asset_id]
    table.loc[table["closed_at"] == pd.Timestamp("2025-03-10 12:00"), "close"] *= 1.0001
    feed.at += timedelta(days=1)
    days = ingest_candles(feed, lake, BTC, first=date(2025, 3, 11), last=date(2025, 3, 11))
    assert feed.asked[-1] == ("BTCUSDT", datetime(2025, 3, 10), datetime(2025, 3, 12))
    assert [(day.day, day.rows, day.complete, day.requests) for day in days] == [(date(2025, 3, 11), 24, True, 1)]
    assert lake.read_revisions(FIRST, LAST).column("closed_at").to_pylist() == [datetime(2025, 3, 10, 12)]


def test_what_was_fetched_just_now_is_not_fetched_again(lake):
    feed = feed_of(BTC, rechecks_gaps=True)
    ingest_candles(feed, lake, BTC, last=date(2025, 3, 10))
    feed.at += timedelta(hours=1)
    ingest_candles(feed, lake, BTC, first=date(2025, 3, 11), last=date(2025, 3, 12))
    assert feed.asked[-1] == ("BTCUSDT", datetime(2025, 3, 11), datetime(2025, 3, 13))


def test_a_split_that_the_source_adjusts_for_is_refused_with_its_factor_until_the_history_is_retired(lake):
    feed = feed_of(AAPL, now=datetime(2025, 3, 12), rechecks_gaps=True)
    ingest_candles(feed, lake, AAPL)
    before = lake.day_hashes("yahoo", FIRST, LAST)
    feed.tables[AAPL.asset_id][["open", "high", "low", "close", "turnover"]] /= 2
    feed.at += timedelta(days=1)
    (day,) = ingest_candles(feed, lake, AAPL, first=date(2025, 3, 12), last=date(2025, 3, 12))
    assert (day.rows, day.gaps, day.quarantined) == (0, 7, 7)
    refused = lake.read_quarantine(FIRST, LAST).to_pandas()
    assert refused["detail"].str.startswith("stored candles now come with 0.5 times their price").all()
    assert {key: value for key, value in lake.day_hashes("yahoo", FIRST, LAST).items() if key < date(2025, 3, 12)} == {
        key: value for key, value in before.items() if key < date(2025, 3, 12)
    }
    for _ in range(5):
        (day,) = ingest_candles(feed, lake, AAPL, first=date(2025, 3, 12), last=date(2025, 3, 12))
        assert day.rows == 0
    retire_history(lake, AAPL, feed.at)
    days = ingest_candles(feed, lake, AAPL, last=date(2025, 3, 12))
    assert sum(day.gaps for day in days) == 0


def test_a_range_that_the_source_lacks_is_refused_with_what_it_has(lake):
    with pytest.raises(HistoryError, match=r"BTCUSDT \(it has 2025-02-01 to 2025-05-01\) in feed 'scripted'"):
        ingest_candles(feed_of(BTC, now=datetime(2025, 7, 1)), lake, BTC, first=date(2025, 6, 1), last=date(2025, 6, 30))


def test_the_same_candles_under_a_second_name_are_refused(lake):
    feed = feed_of(BTC, ETH)
    feed.tables[ETH.asset_id] = feed.tables[BTC.asset_id].assign(asset_id=ETH.asset_id)
    why = r"ETHUSDT .*in feed 'scripted'; 744 candles were refused: the same candles are stored"
    with pytest.raises(HistoryError, match=why):
        ingest_candles(feed, lake, BTC, ETH)
    refused = lake.read_quarantine(FIRST, LAST).to_pandas()
    assert set(refused["asset_id"]) == {ETH.asset_id}
    assert refused["detail"].unique().tolist() == [
        "the same candles as bybit:linear:BTCUSDT, which was stored first: one of the two is wrong"
    ]


def test_a_later_answer_on_another_scale_is_refused_against_the_stored_history(lake):
    feed = feed_of(AAPL)
    ingest_candles(feed, lake, AAPL, last=date(2025, 3, 14))
    table = feed.tables[AAPL.asset_id]
    table.loc[:, ["open", "high", "low", "close", "turnover"]] *= 400
    days = ingest_candles(feed, lake, AAPL)
    assert sum(day.rows for day in days if day.day > date(2025, 3, 14)) == 0
    assert set(lake.read_quarantine(FIRST, LAST).column("reason").to_pylist()) == {"other_scale"}


def test_a_candle_is_known_only_after_the_publication_lag(lake):
    feed = feed_of(BTC, now=datetime(2025, 3, 1, 12, 0, 30))
    lagging = FeedSettings(publication_lag_seconds={"bybit": 60, "yahoo": 0})
    ingest("candles", feed, lake, (BTC,), FIRST, FIRST, settings=lagging)
    assert lake.read_candles("bybit", FIRST, FIRST)["closed_at"][-1].as_py() == datetime(2025, 3, 1, 11)
    feed.at = datetime(2025, 3, 2, 0, 0, 59)
    assert not ingest("candles", feed, lake, (BTC,), FIRST, FIRST, settings=lagging)[0].complete
    feed.at = datetime(2025, 3, 2, 0, 1, 0)
    assert ingest("candles", feed, lake, (BTC,), FIRST, FIRST, settings=lagging)[0].complete


def test_a_response_that_came_short_is_fetched_again_in_the_same_ingest(lake):
    feed = feed_of(BTC, rechecks_gaps=True, gap_attempts=3)
    whole = feed.tables[BTC.asset_id]
    feed.tables[BTC.asset_id] = whole[~whole["closed_at"].between("2025-03-10 01:00", "2025-03-12 00:00")]
    asked = feed.candles

    def heals(asset, start, end):
        rows = asked(asset, start, end)
        if len(feed.asked) == 4:
            feed.tables[BTC.asset_id] = whole
        return rows

    feed.candles = heals
    days = ingest_candles(feed, lake, BTC)
    assert sum(day.gaps for day in days) == 0
    assert feed.asked[4:] == [("BTCUSDT", datetime(2025, 3, 10), datetime(2025, 3, 12))]


def test_progress_reports_each_window(lake):
    steps: list[Progress] = []
    ingest_candles(feed_of(BTC, AAPL), lake, BTC, AAPL, report=steps.append)
    assert [(step.done, step.total) for step in steps] == [(place, 8) for place in range(1, 9)]
    assert f"{lake.read_candles(None, FIRST, LAST).num_rows:,} rows" in steps[-1].note
