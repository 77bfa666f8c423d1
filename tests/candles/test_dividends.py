"""Dividends: out of the answers that bring candles, on the day they are owed, never counted twice."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.backtest.costs.holding import Dividend
from crossattn_core.backtest.market import market_of
from crossattn_core.candles.feeds.feed import COLUMNS
from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.candles.ingest.ingest import ingest, with_dividends
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.quality import validate_dividends
from crossattn_core.errors import PermanentFeedError
from crossattn_core.experiment import FeedSettings, Period, SimulatedMarket
from crossattn_core.home import Home
from crossattn_core.panel.store import export_days, open_panel
from crossattn_core.trading_calendar import session_bounds
from crossattn_core.universe import Asset
from crossattn_core.warehouse.models import load_project
from tests.candles.scripted import ScriptedFeed, plain_candles
from tests.candles.test_yahoo import AAPL, END, START, feed_of, server_at
from tests.warehouse.lakes import APPLE, build_all, small_experiment, warehouse_of

BTC = Asset(venue="bybit", symbol="BTCUSDT")
EX_AT, AMOUNT = datetime(2025, 7, 8, 13, 30), 0.26
FIRST, LAST = date(2025, 7, 1), date(2025, 7, 20)


def paying(**faults):
    server = server_at(**faults)
    server.dividends["AAPL"] = [(EX_AT, AMOUNT)]
    return server


@pytest.mark.parametrize("adjust_splits", [True, False])
def test_hourly_prices_are_not_adjusted_for_dividends_so_these_are_booked_without_another_request(adjust_splits):
    with paying() as server:
        feed = feed_of(server, adjust_splits=adjust_splits)
        closes = feed.candles(AAPL, START, END)["close"].tolist()
        given = server.tables["AAPL"]
        assert closes == given[(given["closed_at"] > START) & (given["closed_at"] <= END)]["close"].tolist()
        rows = feed.dividends(AAPL, START, END)
        assert tuple(rows.columns) == COLUMNS["dividends"]
        assert list(zip(rows["ex_at"], rows["amount"], strict=True)) == [(EX_AT, AMOUNT)]
        assert server.charts_asked() == ["AAPL"]


def test_daily_prices_that_are_adjusted_for_dividends_leave_none_to_book():
    booked = {}
    for adjusted in (True, False):
        with paying() as server:
            feed = feed_of(server, interval="1d", adjust_splits=adjusted)
            feed.candles(AAPL, START, END)
            booked[adjusted] = feed.dividends(AAPL, START, END)["amount"].tolist()
    assert booked == {True: [], False: [AMOUNT]}


def test_a_dividend_stays_on_its_day_where_the_days_first_bar_is_missing():
    with paying() as server:
        table = server.tables["AAPL"]
        server.tables["AAPL"] = table[table["opened_at"] != EX_AT]
        feed = feed_of(server)
        feed.candles(AAPL, START, END)
        assert feed.dividends(AAPL, START, END)["ex_at"].tolist() == [EX_AT]


def test_dividends_older_than_the_hourly_candles_can_be_asked_for_alone():
    with server_at() as server:
        server.dividends["AAPL"] = [(datetime(2023, 2, 10, 14, 30), 0.23)]
        rows = feed_of(server).dividends(AAPL, datetime(2023, 2, 1), datetime(2023, 3, 1))
    assert rows["amount"].tolist() == [0.23]


def test_a_dividend_in_another_currency_than_the_price_is_refused():
    with paying() as server:
        server.dividend_currency = "EUR"
        feed = feed_of(server)
        feed.candles(AAPL, START, END)
        verdict = validate_dividends(feed.dividends(AAPL, START, END), AAPL, END)
    assert verdict.accepted.empty
    assert verdict.refused["reason"].tolist() == ["not_an_amount"]


def test_a_dividend_exists_from_the_opening_bell_of_its_ex_date_on():
    with paying(now=EX_AT) as server:
        feed = feed_of(server)
        feed.candles(AAPL, START, EX_AT)
        assert len(feed.dividends(AAPL, START, EX_AT)) == 1
        assert feed.dividends(AAPL, START, EX_AT - timedelta(seconds=1)).empty


def test_what_is_no_dividend_is_refused_with_its_reason():
    bells = session_bounds("XNYS")[0]
    bells = bells[(bells > np.datetime64("2025-07-01")) & (bells < np.datetime64("2025-07-12"))]
    rows = pd.DataFrame({"asset_id": AAPL.asset_id, "ex_at": bells[[0, 1, 2, 3, 4, 4, 5]]})
    rows["amount"] = [0.1, np.nan, 0.0, -0.1, 0.2, 0.3, 0.4]
    rows.loc[0, "ex_at"] += pd.Timedelta(hours=1)
    rows["fetched_at"] = pd.Timestamp("2025-07-10").as_unit("us")
    verdict = validate_dividends(rows.iloc[::-1], AAPL, bells[4].item())
    assert verdict.accepted["amount"].tolist() == [0.3]
    reasons = dict(zip(verdict.refused["close"].fillna(-9).tolist(), verdict.refused["reason"], strict=True))
    assert reasons == {
        0.1: "no_session",
        -9.0: "not_an_amount",
        0.0: "not_an_amount",
        -0.1: "not_an_amount",
        0.2: "duplicate",
        0.4: "not_closed",
    }


def lake_with_dividends(folder: Path) -> tuple[ScriptedFeed, Lake]:
    feed = ScriptedFeed({AAPL.asset_id: plain_candles(AAPL, datetime(2025, 6, 1), datetime(2025, 8, 1))}, datetime(2025, 9, 1))
    feed.paid[AAPL.asset_id] = pd.DataFrame({"ex_at": [pd.Timestamp(EX_AT)], "amount": [AMOUNT]})
    return feed, Lake(folder, "scripted")


def test_days_without_a_dividend_are_asked_and_empty_and_none_is_asked_for_twice(tmp_path):
    feed, lake = lake_with_dividends(tmp_path)
    candles = ingest("candles", feed, lake, (AAPL, BTC)[:1], FIRST, LAST, settings=FeedSettings())
    paid = ingest("dividends", feed, lake, (AAPL, BTC), FIRST, LAST, settings=FeedSettings())
    assert {row.day: row.rows for row in paid if row.rows} == {date(2025, 7, 8): 1}
    assert all(row.gaps == 0 and row.complete and row.content_hash for row in paid)
    days = with_dividends(candles, paid)
    assert {day.day: day.dividends for day in days if day.dividends} == {date(2025, 7, 8): 1}
    assert sum(day.requests for day in days) == sum(row.requests for row in (*candles, *paid))
    asked = feed.traffic.requests
    ingest("dividends", feed, lake, (AAPL,), FIRST, LAST, settings=FeedSettings())
    assert feed.traffic.requests == asked
    (row,) = lake.read_dividends(FIRST, LAST).to_pylist()
    assert (row["ex_at"], row["amount"]) == (EX_AT, AMOUNT)
    assert lake.verify() == []


def test_a_dividend_that_the_source_changes_its_mind_about_keeps_both_values(tmp_path):
    feed, lake = lake_with_dividends(tmp_path)
    ingest("dividends", feed, lake, (AAPL,), FIRST, LAST, settings=FeedSettings())
    feed.paid[AAPL.asset_id]["amount"] = 0.13
    ingest("dividends", feed, lake, (AAPL,), FIRST, LAST, settings=FeedSettings(), refresh_from=FIRST)
    (revision,) = lake.read_revisions(FIRST, LAST, kind="dividends").to_pylist()
    assert (revision["field"], revision["first_value"], revision["later_value"]) == ("amount", AMOUNT, 0.13)
    assert lake.read_dividends(FIRST, LAST)["amount"].to_pylist() == [AMOUNT]


def simulated(dividend_yield: float, end: date = date(2026, 6, 30)) -> SimulatedFeed:
    market = SimulatedMarket(dividend_yield=dividend_yield, missing_share=0, leads=())
    return SimulatedFeed(market, (AAPL, BTC), Period(start=date(2025, 1, 1), end=end))


def test_a_simulated_share_opens_lower_by_what_it_pays_and_moves_alike_otherwise():
    start, end = datetime(2025, 1, 1), datetime(2026, 7, 1)
    plain, paying_feed = simulated(0.0), simulated(0.04)
    paid = paying_feed.dividends(AAPL, start, end)
    assert len(paid) in (5, 6)
    assert plain.dividends(AAPL, start, end).empty
    assert paying_feed.dividends(BTC, start, end).empty
    without, held = (feed.candles(AAPL, start, end).set_index("opened_at") for feed in (plain, paying_feed))
    is_ex_T = held.index.isin(paid["ex_at"])
    assert is_ex_T.sum() == len(paid)
    before_T = held["close"].shift()[is_ex_T].to_numpy()
    np.testing.assert_allclose(paid["amount"], 0.01 * before_T, rtol=1e-4)
    gap, gap_held = (np.log(table["open"] / table["close"].shift()) for table in (without, held))
    np.testing.assert_allclose((gap_held - gap)[is_ex_T], np.log(0.99), atol=2e-5)
    np.testing.assert_allclose((gap_held - gap)[~is_ex_T].dropna(), 0, atol=2e-5)


def test_a_longer_simulated_market_has_the_shorter_ones_dividends():
    start, cut = datetime(2025, 1, 1), datetime(2025, 12, 1)
    short, long = (simulated(0.04, end).dividends(AAPL, start, cut) for end in (date(2025, 11, 30), date(2026, 6, 30)))
    pd.testing.assert_frame_equal(short.drop(columns="fetched_at"), long.drop(columns="fetched_at"))


def files_with(tmp_path: Path, text: str) -> FilesFeed:
    folder = tmp_path / "yahoo_dividends"
    folder.mkdir()
    (folder / "AAPL.csv").write_text(text)
    return FilesFeed(tmp_path, lambda: datetime(2025, 9, 1, tzinfo=UTC))


def test_a_file_may_name_a_dividends_day_and_gets_that_days_opening_bell(tmp_path):
    feed = files_with(tmp_path, "ex_date,amount\n2025-02-10,0.25\n2025-07-08,0.26\n2025-07-12,1.0\n")
    rows = feed.dividends(AAPL, datetime(2025, 1, 1), datetime(2025, 8, 1))
    assert rows["ex_at"].tolist()[:2] == [pd.Timestamp("2025-02-10 14:30"), pd.Timestamp(EX_AT)]
    assert validate_dividends(rows, AAPL, datetime(2025, 8, 1)).refused["reason"].tolist() == ["no_session"]  # a Saturday


def test_a_folder_without_dividends_has_none_and_one_without_amounts_is_refused(tmp_path):
    assert FilesFeed(tmp_path, lambda: datetime(2025, 9, 1, tzinfo=UTC)).dividends(AAPL, START, END).empty
    with pytest.raises(PermanentFeedError, match=r"AAPL.csv: no column amount; it has ex_date, paid"):
        files_with(tmp_path, "ex_date,paid\n2025-02-10,0.25\n").dividends(AAPL, START, END)


def test_a_dividend_reaches_the_simulators_market_on_the_row_of_its_opening_bell(tmp_path):
    first, last = date(2025, 7, 6), date(2025, 7, 10)
    feed, lake = lake_with_dividends(tmp_path / "lake")
    ingest("candles", feed, lake, (AAPL,), first, last, settings=FeedSettings())
    ingest("dividends", feed, lake, (AAPL,), first, last, settings=FeedSettings())
    experiment, home = small_experiment(first, last, symbols=("BTCUSDT", "AAPL")), Home(tmp_path)
    with warehouse_of(experiment, lake, first, last) as connection:
        build_all(connection, load_project(), first, last)
        export_days(connection, home, experiment, first, last)
    market = market_of(open_panel(home, experiment), experiment.assets, experiment.costs, experiment.backtest)
    (dividend,) = market.charged(Dividend)
    row, asset = (int(place[0]) for place in np.nonzero(dividend.rate_TN))
    assert (market.as_of_T[row], market.asset_ids[asset]) == (np.datetime64("2025-07-08T14:00"), APPLE)
    assert dividend.rate_TN.sum() == AMOUNT
    assert not market.tradable_TN[row, asset]  # what is held into the row is what was held overnight
