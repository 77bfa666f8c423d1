"""Other bars than an hour: rows, sessions, payments and bars that are put together from shorter candles."""

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossattn_core.candles.lake.day_files import FUNDING_SCHEMA
from crossattn_core.experiment import Experiment
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.run import build
from crossattn_core.warehouse.sources import sync_sources
from tests.warehouse.lakes import (
    APPLE,
    BITCOIN,
    ListedLake,
    build_all,
    candle_table,
    flat_candles,
    random_lake,
    small_experiment,
    warehouse_of,
)

PROJECT = load_project()
STORED = ("aligned.bars", "features.bar", "features.trailing")
FRIDAY, MONDAY = date(2025, 3, 7), date(2025, 3, 10)  # the clocks in New York change between them


def with_bar(bar: str, first: date, last: date, **feed: object) -> Experiment:
    settings: dict[str, object] = {"grid": {"bar": bar}, "feed": {"simulated": {"leads": []}, **feed}}
    return small_experiment(first, last, symbols=("BTCUSDT", "AAPL"), **settings)


def rows_of(experiment: Experiment, lake: ListedLake, asset_id: str, columns: str) -> dict[str, tuple[object, ...]]:
    """``'03-07 14:35'`` -> the columns of aligned.bars."""
    first, last = experiment.period.start, experiment.period.end or experiment.period.start
    with warehouse_of(experiment, lake, first, last) as connection:
        build_all(connection, PROJECT, first, last)
        rows = connection.execute(
            f"select as_of, {columns} from aligned.bars where asset_id = ? order by as_of", [asset_id]
        ).fetchall()
    return {f"{row[0]:%m-%d %H:%M}": row[1:] for row in rows}


@pytest.mark.parametrize(("bar", "rows"), [("1m", 1440), ("5m", 288), ("30m", 48), ("4h", 6), ("1d", 1)])
def test_a_day_has_a_row_a_bar_from_the_first_to_midnight(bar: str, rows: int) -> None:
    experiment = with_bar(bar, FRIDAY, FRIDAY)
    found = list(rows_of(experiment, random_lake(experiment, FRIDAY, FRIDAY), BITCOIN, "is_expected"))
    first = datetime(2025, 3, 7) + experiment.grid.step
    assert (len(found), found[0], found[-1]) == (rows, f"{first:%m-%d %H:%M}", "03-08 00:00")


def test_at_five_minutes_a_session_has_rows_of_its_own() -> None:
    experiment = with_bar("5m", FRIDAY, MONDAY)
    found = rows_of(experiment, random_lake(experiment, FRIDAY, MONDAY, missing_share=0.0), APPLE, "is_expected, is_tradable")
    expected = [stamp for stamp, row in found.items() if row[0]]
    assert [stamp for stamp, row in found.items() if row[1]] == expected
    friday, monday = ([stamp for stamp in expected if stamp.startswith(day)] for day in ("03-07", "03-10"))
    assert (friday[0], friday[-1], len(friday)) == ("03-07 14:35", "03-07 21:00", 78)
    assert (monday[0], monday[-1], len(monday)) == ("03-10 13:35", "03-10 20:00", 78)
    assert len(expected) == 156  # nothing on Saturday or Sunday


def test_a_half_day_at_five_minutes_ends_at_one_in_new_york() -> None:
    day = date(2024, 11, 29)
    experiment = with_bar("5m", day, day)
    found = rows_of(experiment, random_lake(experiment, day, day, missing_share=0.0), APPLE, "is_tradable")
    tradable = [stamp for stamp, row in found.items() if row[0]]
    assert (tradable[0], tradable[-1], len(tradable)) == ("11-29 14:35", "11-29 18:00", 42)


def test_a_daily_bar_of_a_stock_is_known_and_tradable_at_the_midnight_after_its_bell() -> None:
    experiment = with_bar("1d", FRIDAY, MONDAY)
    bells = [("2025-03-07 14:30", "2025-03-07 21:00", 50.0), ("2025-03-10 13:30", "2025-03-10 20:00", 60.0)]
    lake = ListedLake(flat_candles(APPLE, [b[0] for b in bells], [b[1] for b in bells], [b[2] for b in bells]))
    found = rows_of(experiment, lake, APPLE, "is_fresh, is_tradable, is_expected, age_hours, mark_price")
    assert found == {
        "03-08 00:00": (True, True, True, 3.0, 50.0),
        "03-09 00:00": (False, False, False, 27.0, 50.0),
        "03-10 00:00": (False, False, False, 51.0, 50.0),
        "03-11 00:00": (True, True, True, 4.0, 60.0),
    }


def test_at_one_minute_a_second_of_publication_lag_costs_a_bar_and_moves_no_trade() -> None:
    opened, closed = ["2025-03-07 10:00", "2025-03-07 10:01"], ["2025-03-07 10:01", "2025-03-07 10:02"]
    lake = ListedLake(flat_candles(BITCOIN, opened, closed, [5.0, 6.0]))
    columns = "trade_price, is_fresh, mark_price"
    at_once = rows_of(with_bar("1m", FRIDAY, FRIDAY), lake, BITCOIN, columns)
    late = rows_of(with_bar("1m", FRIDAY, FRIDAY, publication_lag_seconds={"bybit": 1, "yahoo": 0}), lake, BITCOIN, columns)
    assert [at_once[f"03-07 10:0{minute}"] for minute in (1, 2, 3)] == [(5.0, True, 5.0), (6.0, True, 6.0), (None, False, 6.0)]
    assert [late[f"03-07 10:0{minute}"] for minute in (1, 2, 3)] == [(5.0, False, None), (6.0, True, 5.0), (None, True, 6.0)]


@pytest.mark.parametrize(
    ("bar", "settled", "rows"),
    [
        ("1m", ["08:00:00", "16:00:01"], {"03-07 08:00": 0.1, "03-07 16:01": 0.2}),
        ("5m", ["08:00:00", "16:00:01"], {"03-07 08:00": 0.1, "03-07 16:05": 0.2}),
        ("4h", ["08:00:00", "12:00:00"], {"03-07 08:00": 0.1, "03-07 12:00": 0.2}),
        ("1d", ["08:00:00", "16:00:00"], {"03-08 00:00": pytest.approx(0.3)}),
    ],
)
def test_a_payment_belongs_to_the_row_whose_bar_holds_it(bar: str, settled: list[str], rows: dict[str, float]) -> None:
    moments = np.array([f"2025-03-07T{moment}" for moment in settled], "datetime64[us]")
    paid = {"asset_id": [BITCOIN] * 2, "settled_at": moments, "rate": [0.1, 0.2], "fetched_at": moments}
    experiment = with_bar(bar, FRIDAY, FRIDAY)
    lake = ListedLake(random_lake(experiment, FRIDAY, FRIDAY).candles, pa.table(paid).cast(FUNDING_SCHEMA))
    # Rates beyond 5% are refused by the funding view's own tests, which this does not run.
    found = rows_of(experiment, lake, BITCOIN, "funding_rate")
    assert {stamp: row[0] for stamp, row in found.items() if row[0] is not None} == rows


def minutes_and(bar: str, frequency: str) -> tuple[ListedLake, ListedLake]:
    """A lake of minutes, and one of the same minutes put together by pandas."""
    minute = random_lake(with_bar("1m", FRIDAY, FRIDAY), FRIDAY, FRIDAY, missing_share=0.01)
    candles = minute.candles.filter(pa.compute.equal(minute.candles["asset_id"], BITCOIN)).to_pandas()
    grouped = candles.groupby(pd.DatetimeIndex(candles["closed_at"]).ceil(frequency))
    whole = candle_table(
        BITCOIN,
        (pd.DatetimeIndex(grouped.size().index) - pd.Timedelta(frequency)).to_numpy(),
        pd.DatetimeIndex(grouped.size().index).to_numpy(),
        grouped["open"].first().to_numpy(),
        grouped["high"].max().to_numpy(),
        grouped["low"].min().to_numpy(),
        grouped["close"].last().to_numpy(),
        grouped["volume"].sum().to_numpy(),
    )
    return ListedLake(minute.candles, minute.funding), ListedLake(whole, minute.funding)


@pytest.mark.parametrize(("bar", "frequency"), [("1h", "1h"), ("15m", "15min"), ("4h", "4h"), ("1d", "1D")])
def test_minutes_make_the_same_bars_as_candles_of_the_bar(bar: str, frequency: str) -> None:
    minutes, whole = minutes_and(bar, frequency)
    columns = "is_fresh, is_tradable, is_expected, trade_price, mark_price"
    put_together = rows_of(with_bar(bar, FRIDAY, FRIDAY, interval="1m"), minutes, BITCOIN, columns)
    assert put_together == rows_of(with_bar(bar, FRIDAY, FRIDAY), whole, BITCOIN, columns)
    assert all(row[0] for row in put_together.values())


@pytest.mark.parametrize(("bar", "days"), [("5m", 3), ("1d", 40)])
def test_any_split_of_the_days_gives_the_same_bits(bar: str, days: int) -> None:
    first = date(2025, 1, 30)  # a month's turn follows
    last = first + timedelta(days=days - 1)
    experiment = with_bar(bar, first, last)
    lake = random_lake(experiment, first, last)

    def built(*parts: tuple[date, date]) -> list[list[tuple[object, ...]]]:
        with warehouse_of(experiment, lake, first, last) as connection:
            sync_sources(connection, lake, experiment, first, last)
            for name in (*PROJECT.upstream("features.panel_rows"), "features.panel_rows"):
                for low, high in parts:
                    build(connection, PROJECT, name, low, high)
            return [connection.execute(f"select * from {name} order by as_of, asset_id").fetchall() for name in STORED]

    edges = [first, *(first + timedelta(days=n) for n in range(1, days, max(days // 7, 1))), last + timedelta(days=1)]
    parts = [(low, high - timedelta(days=1)) for low, high in pairwise(edges)]
    assert built((first, last)) == built(*parts)


def test_days_without_a_candle_break_no_schema() -> None:
    last = FRIDAY + timedelta(days=2)
    experiment = with_bar("1m", FRIDAY, last)
    lake = random_lake(experiment, FRIDAY, FRIDAY)
    with warehouse_of(experiment, lake, FRIDAY, last) as connection:
        for name in ("staging.candles", "aligned.bars"):
            results = build(connection, PROJECT, name, FRIDAY, last, tested=True).tests
            assert all(result.passed for result in results)
