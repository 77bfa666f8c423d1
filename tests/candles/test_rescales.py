"""A split that the source has adjusted for backwards: the stored history is brought to the new scale, and back to the bit."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.coverage import coverage_of
from crossattn_core.candles.lake.rescales import rescale_history
from crossattn_core.candles.lake.revisions import adopt_revisions, retire_history, revisions_beyond
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError
from crossattn_core.experiment import FeedSettings
from tests.candles.ingests import AAPL, BTC, FIRST, feed_of, ingest_candles

SPLIT = date(2025, 3, 20)
AT = datetime(2025, 6, 2)
PRICES = ["open", "high", "low", "close"]


def split_since(feed, ratio: float) -> None:
    """The source adjusts all that it has for a split of ``ratio`` for 1."""
    table = feed.tables[AAPL.asset_id]
    table[PRICES] /= ratio
    table["volume"] *= ratio


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path, "scripted")
    ingest_candles(feed_of(AAPL, BTC), lake, AAPL, BTC, last=date(2025, 3, 19))
    return lake


def rows_of(lake: Lake, last: date = date(2025, 3, 19)) -> pd.DataFrame:
    rows = lake.read_candles("yahoo", FIRST, last).to_pandas()
    return rows.drop(columns="fetched_at")


@pytest.mark.parametrize("ratio", [4.0, 10.0, 1 / 3])
def test_a_history_is_rescaled_and_the_act_is_undone_to_the_bit(lake, ratio):
    before, hashes = rows_of(lake), lake.day_hashes("yahoo", FIRST, SPLIT)
    others = lake.day_hashes("bybit", FIRST, SPLIT)
    files = {path: path.read_bytes() for path in lake.folder.glob("candles/**/*.parquet")}
    assert rescale_history(lake, AAPL, 1 / ratio, SPLIT, AT) == 13
    after = rows_of(lake)
    assert after[PRICES].to_numpy() == pytest.approx(before[PRICES].to_numpy() / ratio, rel=1e-12)
    assert after["volume"].to_numpy() == pytest.approx(before["volume"].to_numpy() * ratio, rel=1e-12)
    assert after["turnover"].equals(before["turnover"])
    changed = [day for day, named in lake.day_hashes("yahoo", FIRST, SPLIT).items() if named != hashes[day]]
    assert len(changed) == 13
    assert lake.day_hashes("bybit", FIRST, SPLIT) == others
    assert {path: path.read_bytes() for path in files} == files
    assert lake.verify() == []
    assert rescale_history(lake, AAPL, None, SPLIT, AT, undo=True) == 13
    pd.testing.assert_frame_equal(rows_of(lake), before, check_exact=True)
    assert lake.day_hashes("yahoo", FIRST, SPLIT) == hashes
    ((number, factor, undone_at),) = lake.ledger.rows("rescales", ("number", "factor", "undone_at"), "kind = 'candles'", ())
    assert (number, factor, undone_at) == (1, 1 / ratio, "2025-06-02T00:00:00.000000")


def test_the_refusal_names_the_act_after_which_the_next_days_are_stored(lake):
    feed = feed_of(AAPL)
    split_since(feed, 4.0)
    ingest_candles(feed, lake, AAPL, last=date(2025, 3, 21), refresh_from=date(2025, 3, 18))
    refused = lake.read_quarantine(FIRST, date(2025, 3, 31)).to_pylist()
    assert {row["reason"] for row in refused} == {"other_scale"}
    assert "'crossattn candles rescale AAPL --factor 0.25 --before 2025-03-20' brings" in refused[0]["detail"]
    rescale_history(lake, AAPL, 0.25, SPLIT, AT)
    days = ingest_candles(feed, lake, AAPL, last=date(2025, 3, 21), refresh_from=date(2025, 3, 1))
    assert sum(day.gaps for day in days) == 0
    assert lake.read_revisions(FIRST, date(2025, 3, 31)).num_rows == 0
    stored = lake.read_candles("yahoo", FIRST, date(2025, 3, 21)).to_pandas()
    served = feed.tables[AAPL.asset_id].set_index("closed_at").loc[stored["closed_at"]]
    assert stored[[*PRICES, "volume"]].to_numpy() == pytest.approx(served[[*PRICES, "volume"]].to_numpy(), rel=1e-12)


def test_two_splits_multiply_and_each_is_undone_alone(lake):
    before = rows_of(lake)
    rescale_history(lake, AAPL, 0.1, SPLIT, AT)
    once = rows_of(lake)
    rescale_history(lake, AAPL, 1 / 3, date(2025, 3, 10), AT)
    early = (once["closed_at"] < "2025-03-10").to_numpy()
    assert rows_of(lake)["close"].to_numpy() == pytest.approx(np.where(early, once["close"] / 3, once["close"]), rel=1e-12)
    rescale_history(lake, AAPL, 0.1, SPLIT, AT, undo=True)
    assert rows_of(lake)["close"].to_numpy() == pytest.approx(np.where(early, before["close"] / 3, before["close"]), rel=1e-12)
    rescale_history(lake, AAPL, None, date(2025, 3, 10), AT, undo=True)
    pd.testing.assert_frame_equal(rows_of(lake), before, check_exact=True)


def test_a_rescaled_day_that_is_completed_or_revised_later_stays_on_one_scale(tmp_path):
    lake, feed = Lake(tmp_path, "scripted"), feed_of(AAPL)
    whole = feed.tables[AAPL.asset_id]
    hole, revised = pd.Timestamp("2025-03-12 16:30"), pd.Timestamp("2025-03-12 18:30")
    feed.tables[AAPL.asset_id] = whole[whole["closed_at"] != hole].copy()
    ingest_candles(feed, lake, AAPL, last=date(2025, 3, 19))
    rescale_history(lake, AAPL, 0.25, SPLIT, AT)
    feed.tables[AAPL.asset_id] = whole
    split_since(feed, 4.0)
    whole.loc[whole["closed_at"] == revised, "close"] *= 1.0001
    ingest_candles(feed, lake, AAPL, last=date(2025, 3, 19), refresh_from=date(2025, 3, 12))
    stored = rows_of(lake).set_index("closed_at")["close"]
    assert stored[hole] == whole.set_index("closed_at")["close"][hole]
    assert revisions_beyond(lake.read_revisions(FIRST, SPLIT), 1e-6)["field"].to_pylist() == ["close"]
    assert adopt_revisions(lake, AAPL, FIRST, SPLIT, AT) == 1
    assert rows_of(lake).set_index("closed_at")["close"][revised] == whole.set_index("closed_at")["close"][revised]


def test_dividends_go_with_the_prices_and_funding_does_not(tmp_path):
    lake, feed = Lake(tmp_path, "scripted"), feed_of(AAPL)
    ex_at = pd.Timestamp("2025-03-12 13:30").as_unit("us")
    paid = {"asset_id": AAPL.asset_id, "ex_at": [ex_at], "amount": 1.0, "fetched_at": ex_at}
    feed.paid[AAPL.asset_id] = pd.DataFrame(paid)
    for kind in ("candles", "dividends"):
        ingest(kind, feed, lake, (AAPL,), FIRST, date(2025, 3, 19), settings=FeedSettings())
    rescale_history(lake, AAPL, 0.25, SPLIT, AT)
    assert lake.read_dividends(FIRST, SPLIT)["amount"].to_pylist() == [0.25]


def test_acts_that_make_no_sense_are_refused(lake, tmp_path):
    for factor in (None, 0.0, -1.0, 1.0, float("nan"), float("inf")):
        with pytest.raises(CandleError, match="--factor must be new price over old, positive and not 1"):
            rescale_history(lake, AAPL, factor, SPLIT, AT)
    with pytest.raises(CandleError, match="nothing to undo"):
        rescale_history(lake, AAPL, None, SPLIT, AT, undo=True)
    with pytest.raises(CandleError, match="nothing of yahoo:equity:AAPL is stored before 2025-03-01"):
        rescale_history(lake, AAPL, 0.25, FIRST, AT)
    rescale_history(lake, AAPL, 0.25, SPLIT, AT)
    with pytest.raises(CandleError, match=r"was rescaled by 0\.25 before 2025-03-20 already"):
        rescale_history(lake, AAPL, 0.25, SPLIT, AT)


def test_a_history_that_is_retired_takes_its_rescales_along(lake):
    rescale_history(lake, AAPL, 0.25, SPLIT, AT)
    retire_history(lake, AAPL, AT)
    feed = feed_of(AAPL)
    split_since(feed, 4.0)
    ingest_candles(feed, lake, AAPL, last=date(2025, 3, 19))
    stored = rows_of(lake).set_index("closed_at")["close"]
    assert stored.equals(feed.tables[AAPL.asset_id].set_index("closed_at")["close"].loc[stored.index])
    assert coverage_of(lake, (AAPL,), FIRST, date(2025, 3, 19), 0.02)[0].missing == 0


def test_a_lake_from_before_there_were_rescales_reads_as_it_is_and_can_be_rescaled(lake):
    with lake.ledger.writing() as connection:
        connection.execute("drop table rescales")
        connection.execute("drop table rescaled_days")
    before = rows_of(lake)
    assert lake.ledger.rows("rescales", ("number",), "1 = 1", ()) == []
    assert rescale_history(lake, AAPL, 0.5, SPLIT, AT) == 13
    assert rows_of(lake)["close"].to_list() == (before["close"] * 0.5).to_list()
