"""The join of stocks and crypto on one hourly grid, by hand-made cases."""

from collections.abc import Iterable
from datetime import date, datetime

import pyarrow as pa
import pytest

from crossattn_core.candles.lake.day_files import DIVIDEND_SCHEMA
from crossattn_core.experiment import Experiment
from crossattn_core.warehouse.models import load_project
from tests.warehouse.lakes import APPLE, BITCOIN, ListedLake, build_all, flat_candles, small_experiment, warehouse_of

PROJECT = load_project()
Row = tuple[bool, bool, bool, float | None, float | None, float | None]
HALF_HOURS = ("14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:30")


def aligned(
    candles: Iterable[pa.Table], first: date, last: date, asset_id: str, experiment: Experiment | None = None
) -> dict[str, Row]:
    """``'03 15:00'`` -> (is_fresh, is_tradable, is_expected, age_hours, trade_price, mark_price)."""
    chosen = experiment or small_experiment(first, last, symbols=("BTCUSDT", "AAPL"))
    with warehouse_of(chosen, ListedLake(pa.concat_tables(candles)), first, last) as connection:
        build_all(connection, PROJECT, first, last)
        rows = connection.execute(
            "select as_of, is_fresh, is_tradable, is_expected, age_hours, trade_price, mark_price "
            "from aligned.bars where asset_id = ? order by as_of",
            [asset_id],
        ).fetchall()
    return {f"{row[0]:%d %H:%M}": row[1:] for row in rows}


def session(day: str, price: float, *, winter: bool = True, closes: int = 7) -> pa.Table:
    """A session of one price: seven closes in winter time, or fewer."""
    shift = 0 if winter else -1
    starts = [datetime.fromisoformat(f"{day} {int(start[:2]) + shift:02d}:30") for start in HALF_HOURS[:closes]]
    ends = [*starts[1:], datetime.fromisoformat(f"{day} {(21 if closes == 7 else 18) + shift:02d}:00")]
    return flat_candles(APPLE, [str(start) for start in starts], [str(end) for end in ends], [price] * closes)


def test_before_the_open_a_stock_carries_yesterdays_close() -> None:
    rows = aligned([session("2025-03-03", 50), session("2025-03-04", 60)], date(2025, 3, 3), date(2025, 3, 4), APPLE)
    assert rows["04 14:00"] == (False, False, False, 17.0, None, 50)
    assert rows["04 15:00"] == (False, False, False, 18.0, None, 50)  # the first bar closes at 15:30
    assert rows["04 16:00"] == (True, True, True, 0.5, 60, 60)


def test_at_the_close_the_half_hour_bar_is_the_newest() -> None:
    rows = aligned([session("2025-03-03", 50)], date(2025, 3, 3), date(2025, 3, 3), APPLE)
    assert rows["03 21:00"] == (True, True, True, 0.0, 50, 50)
    assert rows["03 22:00"] == (False, False, False, 1.0, None, 50)
    assert sum(row[0] for row in rows.values()) == 6


def test_before_the_first_candle_nothing_is_known() -> None:
    rows = aligned([session("2025-03-04", 60)], date(2025, 3, 3), date(2025, 3, 4), APPLE)
    assert rows["03 16:00"] == (False, False, True, None, None, None)


def test_a_half_day_closes_early_and_the_weekend_carries_it() -> None:
    rows = aligned([session("2024-11-29", 70, closes=4)], date(2024, 11, 29), date(2024, 12, 1), APPLE)
    assert rows["29 18:00"] == (True, True, True, 0.0, 70, 70)
    assert rows["29 19:00"] == (False, False, False, 1.0, None, 70)
    assert rows["01 18:00"] == (False, False, False, 48.0, None, 70)


def test_a_holiday_expects_nothing() -> None:
    rows = aligned([session("2025-07-03", 70, winter=False)], date(2025, 7, 3), date(2025, 7, 4), APPLE)
    assert not any(row[2] for stamp, row in rows.items() if stamp.startswith("04") and stamp > "04 00:00")


@pytest.mark.parametrize(
    ("friday", "monday", "first_row"), [("2025-03-07", "2025-03-10", "15:00"), ("2025-10-31", "2025-11-03", "16:00")]
)
def test_over_a_change_of_clocks_the_first_fresh_row_moves_and_no_hour_is_lost(friday: str, monday: str, first_row: str) -> None:
    spring = friday < "2025-06"
    candles = [session(friday, 50, winter=spring), session(monday, 60, winter=not spring)]
    first, last = date.fromisoformat(friday), date.fromisoformat(monday)
    rows = aligned(candles, first, last, APPLE)
    assert len(rows) == 96
    fresh = [stamp for stamp, row in rows.items() if row[0] and stamp.startswith(f"{last.day:02d}")]
    assert min(fresh) == f"{last.day:02d} {first_row}"


def test_a_delisted_asset_keeps_its_mark_in_a_day_that_is_built_alone() -> None:
    first, last = date(2025, 1, 6), date(2025, 3, 3)
    experiment = small_experiment(first, last, symbols=("BTCUSDT", "AAPL"))
    lake = ListedLake(session("2025-01-06", 33))
    with warehouse_of(experiment, lake, first, last) as connection:
        build_all(connection, PROJECT, last, last)
        rows = connection.execute(
            "select distinct mark_price, is_readable, is_tradable from aligned.bars where asset_id = ?", [APPLE]
        ).fetchall()
    assert rows == [(33.0, False, False)]


def test_a_listing_in_mid_history_starts_there() -> None:
    listing = flat_candles(BITCOIN, ["2025-03-04 10:00", "2025-03-04 11:00"], ["2025-03-04 11:00", "2025-03-04 12:00"], [5, 6])
    rows = aligned([listing], date(2025, 3, 3), date(2025, 3, 4), BITCOIN)
    assert rows["04 10:00"] == (False, False, True, None, None, None)
    assert rows["04 11:00"] == (True, True, True, 0.0, 5, 5)


def test_an_outage_is_expected_untradable_and_carried() -> None:
    before = flat_candles(BITCOIN, ["2025-03-03 08:00"], ["2025-03-03 09:00"], [5])
    after = flat_candles(BITCOIN, ["2025-03-03 12:00"], ["2025-03-03 13:00"], [7])
    rows = aligned([before, after], date(2025, 3, 3), date(2025, 3, 3), BITCOIN)
    assert rows["03 10:00"] == (False, False, True, 1.0, None, 5)
    assert rows["03 12:00"] == (False, False, True, 3.0, None, 5)
    assert rows["03 13:00"] == (True, True, True, 0.0, 7, 7)


def test_the_grid_row_at_midnight_belongs_to_the_day_before() -> None:
    midnight = flat_candles(BITCOIN, ["2025-03-03 23:00"], ["2025-03-04 00:00"], [9])
    rows = aligned([midnight], date(2025, 3, 3), date(2025, 3, 3), BITCOIN)
    assert list(rows)[-1] == "04 00:00"
    assert rows["04 00:00"] == (True, True, True, 0.0, 9, 9)


def test_publication_lag_delays_what_is_known_and_not_what_was_traded() -> None:
    candle = flat_candles(BITCOIN, ["2025-03-03 08:00"], ["2025-03-03 09:00"], [5])
    experiment = small_experiment(
        date(2025, 3, 3),
        date(2025, 3, 3),
        symbols=("BTCUSDT", "AAPL"),
        feed={"simulated": {"leads": []}, "publication_lag_seconds": {"bybit": 60, "yahoo": 900}},
    )
    rows = aligned([candle], date(2025, 3, 3), date(2025, 3, 3), BITCOIN, experiment)
    assert rows["03 09:00"] == (False, True, True, None, 5, None)
    assert rows["03 10:00"] == (True, False, True, 1.0, None, 5)


def test_beyond_its_maximum_age_a_price_is_marked_and_not_read() -> None:
    first, last = date(2025, 3, 3), date(2025, 3, 4)
    experiment = small_experiment(first, last, symbols=("BTCUSDT", "AAPL"), features={"max_age_hours": 10})
    candle = flat_candles(BITCOIN, ["2025-03-03 08:00"], ["2025-03-03 09:00"], [5])
    with warehouse_of(experiment, ListedLake(candle), first, last) as connection:
        build_all(connection, PROJECT, first, last)
        rows = connection.execute(
            "select as_of, is_readable, mark_price from aligned.bars where asset_id = ? order by 1", [BITCOIN]
        ).fetchall()
    readable = [row[0] for row in rows if row[1]]
    assert (readable[0], readable[-1]) == (datetime(2025, 3, 3, 9), datetime(2025, 3, 3, 19))
    assert rows[-1][2] == 5


def test_a_dividend_stands_on_the_row_whose_hour_holds_the_opening_bell() -> None:
    first, last = date(2025, 3, 3), date(2025, 3, 5)
    ex_at = datetime(2025, 3, 4, 14, 30)
    paid = pa.table({"asset_id": [APPLE], "ex_at": [ex_at], "amount": [0.25], "fetched_at": [ex_at]}).cast(DIVIDEND_SCHEMA)
    lake = ListedLake(session("2025-03-03", 50), dividends=paid)
    with warehouse_of(small_experiment(first, last, symbols=("BTCUSDT", "AAPL")), lake, first, last) as connection:
        build_all(connection, PROJECT, first, last)
        rows = connection.execute("select as_of, asset_id, dividend from aligned.bars where dividend is not null").fetchall()
        exported = connection.execute("select as_of, asset_id, dividend from features.panel_rows where dividend > 0").fetchall()
    assert rows == exported == [(datetime(2025, 3, 4, 15), APPLE, 0.25)]


def test_a_half_day_whose_closing_bar_is_missing_carries_the_bar_before_it() -> None:
    stamps = [f"2024-11-29 {hour}:30" for hour in (14, 15, 16, 17)]
    candles = flat_candles(APPLE, stamps[:-1], stamps[1:], [70, 71, 72])
    rows = aligned([candles], date(2024, 11, 29), date(2024, 11, 29), APPLE)
    assert rows["29 18:00"] == (True, True, True, 0.5, 72, 72)
    assert rows["29 19:00"] == (False, False, False, 1.5, None, 72)


def test_an_outage_of_one_asset_leaves_the_other_alone() -> None:
    crypto = flat_candles(BITCOIN, ["2025-03-03 14:00"], ["2025-03-03 15:00"], [5])
    rows = aligned([crypto, session("2025-03-03", 50)], date(2025, 3, 3), date(2025, 3, 3), APPLE)
    assert [stamp for stamp, row in rows.items() if row[0]] == [f"03 {hour}:00" for hour in range(16, 22)]


def test_a_stock_that_is_listed_in_mid_session_starts_with_its_first_whole_bar() -> None:
    candles = flat_candles(APPLE, ["2025-03-03 17:30", "2025-03-03 18:30"], ["2025-03-03 18:30", "2025-03-03 19:30"], [9, 10])
    rows = aligned([candles], date(2025, 3, 3), date(2025, 3, 3), APPLE)
    assert rows["03 18:00"] == (False, False, True, None, None, None)
    assert rows["03 19:00"] == (True, True, True, 0.5, 9, 9)
