"""The spine: every hour once, and each calendar's sessions."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.grid import HOURLY
from crossattn_core.warehouse.sources import session_rows


def closes(day: date) -> list[str]:
    rows = session_rows(["XNYS"], day, day).to_pylist()
    return [f"{row['closed_at']:%H:%M}" for row in rows if row["calendar"] == "XNYS"]


@given(st.dates(date(2020, 1, 1), date(2029, 1, 1)), st.integers(0, 20))
def test_the_calendar_that_never_closes_is_the_grid(first: date, days: int) -> None:
    last = first + timedelta(days)
    rows = session_rows([], first, last)
    assert np.array_equal(rows["closed_at"].to_numpy().astype("datetime64[us]"), HOURLY.rows(first, last))


@settings(deadline=None)  # the first example builds the calendar
@given(st.dates(date(2022, 1, 1), date(2026, 12, 1)), st.integers(1, 9))
def test_days_join_without_seam(first: date, days: int) -> None:
    last = first + timedelta(days)
    parts = [
        row for n in range(days + 1) for row in session_rows(["XNYS"], first + timedelta(n), first + timedelta(n)).to_pylist()
    ]
    whole = session_rows(["XNYS"], first, last).to_pylist()
    assert sorted(parts, key=lambda row: (row["calendar"], row["closed_at"])) == whole


@pytest.mark.parametrize(
    ("day", "first", "last", "count"),
    [
        (date(2025, 3, 7), "15:30", "21:00", 7),  # winter: 09:30 in New York is 14:30 UTC
        (date(2025, 3, 10), "14:30", "20:00", 7),  # the Monday after the clocks changed
        (date(2025, 10, 31), "14:30", "20:00", 7),
        (date(2025, 11, 3), "15:30", "21:00", 7),
        (date(2024, 11, 29), "15:30", "18:00", 4),  # the half day after Thanksgiving
    ],
)
def test_sessions_follow_new_yorks_clock(day: date, first: str, last: str, count: int) -> None:
    found = closes(day)
    assert (found[0], found[-1], len(found)) == (first, last, count)


@pytest.mark.parametrize("day", [date(2025, 3, 8), date(2025, 7, 4), date(2025, 1, 9), date(2025, 4, 18)])
def test_weekends_holidays_and_days_of_mourning_have_no_session(day: date) -> None:
    assert closes(day) == []


def test_only_the_closing_bar_of_a_half_day_is_optional() -> None:
    rows = [
        row for row in session_rows(["XNYS"], date(2024, 11, 27), date(2024, 11, 29)).to_pylist() if row["calendar"] == "XNYS"
    ]
    assert [f"{row['closed_at']:%d %H:%M}" for row in rows if row["is_optional"]] == ["29 18:00"]
