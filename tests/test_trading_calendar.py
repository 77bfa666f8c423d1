"""When candles open and close: cases made by hand from the exchange's own hours, at every length."""

from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from crossattn_core.grid import Grid, bar_names
from crossattn_core.trading_calendar import closing_times, expected_bars, session_bounds, session_days

# 2025-07-03 is a half day (13:00 in New York), the 4th a holiday, the 5th and 6th a weekend.
WEEK = datetime(2025, 7, 2), datetime(2025, 7, 8)


def spans(bar: str, start: datetime, end: datetime, calendar: str = "XNYS") -> list[str]:
    bars = expected_bars(calendar, start, end, Grid.model_validate({"bar": bar}).step)
    return [
        f"{opened:%d %H:%M}-{closed:%H:%M}" for opened, closed in zip(bars.opened_T.tolist(), bars.closed_T.tolist(), strict=True)
    ]


def test_a_day_is_one_candle_a_session_from_bell_to_bell():
    assert spans("1d", *WEEK) == ["02 13:30-20:00", "03 13:30-17:00", "07 13:30-20:00"]


def test_four_hours_are_two_candles_a_session_and_one_on_a_half_day():
    assert spans("4h", *WEEK) == ["02 13:30-17:30", "02 17:30-20:00", "03 13:30-17:00", "07 13:30-17:30", "07 17:30-20:00"]


def test_an_hour_is_cut_at_the_bell():
    assert spans("1h", datetime(2025, 7, 3), datetime(2025, 7, 4)) == [
        "03 13:30-14:30",
        "03 14:30-15:30",
        "03 15:30-16:30",
        "03 16:30-17:00",
    ]


def test_five_minutes_run_from_the_bell_to_the_bell():
    day = spans("5m", datetime(2025, 7, 3), datetime(2025, 7, 4))
    assert (len(day), day[0], day[-1]) == (42, "03 13:30-13:35", "03 16:55-17:00")
    assert len(spans("5m", *WEEK)) == 78 + 42 + 78


def test_summer_time_moves_the_bell_and_not_the_bars():
    friday, monday = (
        spans("5m", datetime(2025, 3, 7), datetime(2025, 3, 8)),
        spans("5m", datetime(2025, 3, 10), datetime(2025, 3, 11)),
    )
    assert (friday[0], monday[0]) == ("07 14:30-14:35", "10 13:30-13:35")
    assert len(friday) == len(monday) == 78


def test_only_a_half_days_candle_that_the_bell_cuts_short_is_optional():
    optional = {bar: int(expected_bars("XNYS", *WEEK, Grid(bar=bar).step).is_optional_T.sum()) for bar in bar_names()}
    assert optional == {"1m": 0, "3m": 0, "5m": 0, "15m": 0, "30m": 0, "1h": 1, "4h": 0, "1d": 0}


@pytest.mark.parametrize("bar", bar_names())
@pytest.mark.parametrize("calendar", ["XNYS", "24/7"])
def test_a_range_holds_the_candles_that_close_in_it_however_it_is_cut(calendar, bar):
    step = Grid(bar=bar).step
    cuts = [datetime(2025, 6, 30) + timedelta(hours=hours) for hours in (0, 7, 13.5, 14, 20, 33, 96, 96.5, 240)]
    whole = expected_bars(calendar, cuts[0], cuts[-1], step)
    parts = [expected_bars(calendar, start, end, step) for start, end in pairwise(cuts)]
    for name in ("opened_T", "closed_T", "session_T", "is_optional_T"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


@pytest.mark.parametrize("bar", bar_names())
def test_the_candles_of_a_session_tile_it(bar):
    bars = expected_bars("XNYS", datetime(2024, 1, 1), datetime(2025, 1, 1), Grid(bar=bar).step)
    inside = np.diff(bars.session_T) == 0
    assert (bars.opened_T[1:][inside] == bars.closed_T[:-1][inside]).all()
    assert np.isin(bars.opened_T[1:][~inside], session_bounds("XNYS")[0]).all()
    assert np.isin(bars.closed_T[:-1][~inside], session_bounds("XNYS")[1]).all()
    np.testing.assert_array_equal(closing_times("XNYS", bars.opened_T, Grid(bar=bar).step), bars.closed_T)


def test_a_daily_stamp_names_a_session_by_its_date_or_by_its_bell_and_nothing_else():
    stamps = np.array(
        ["2025-07-02T00:00", "2025-07-03T04:00", "2025-07-07T13:30", "2025-07-07T15:00", "2025-07-05T00:00"], "datetime64[us]"
    )
    opened, closed = session_days("XNYS", stamps)
    assert [str(moment)[8:16] for moment in opened] == ["02T13:30", "03T13:30", "07T13:30", "07T15:00", "05T00:00"]
    assert [str(moment)[8:16] for moment in closed] == ["02T20:00", "03T17:00", "07T20:00", "08T15:00", "06T00:00"]
    same, later = session_days("24/7", stamps)
    assert (same == stamps).all()
    assert (later - stamps == np.timedelta64(1, "D")).all()
