"""Windows hold every bar exactly once, none longer than a page."""

import itertools
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.candles.feeds.page_windows import INTERVALS, bar_end, opens_in, page_windows
from crossattn_core.candles.ingest.fetch import day_windows

moments = st.datetimes(datetime(2019, 1, 1), datetime(2024, 1, 1)).map(lambda moment: moment.replace(second=0, microsecond=0))
spans = st.integers(0, 60 * 24 * 40)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(INTERVALS)), moments, spans, st.integers(1, 1000))
def test_windows_are_disjoint_aligned_and_hold_every_bar_once(interval, start, minutes, limit):
    end = start + timedelta(minutes=minutes)
    windows = page_windows(start, end, interval, limit)
    opens = opens_in(start, end, interval)
    held = [opens_in(window.first_open, bar_end(window.last_open, interval), interval) for window in windows]
    assert [opened for window in held for opened in window] == opens
    assert sum(window.bars for window in windows) == len(opens)
    assert all(window.bars <= limit for window in windows)
    assert len(windows) == -(-len(opens) // limit)
    assert all(earlier.last_open < later.first_open for earlier, later in itertools.pairwise(windows))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(INTERVALS)), moments, spans)
def test_bars_follow_each_other_and_close_inside_the_range(interval, start, minutes):
    end = start + timedelta(minutes=minutes)
    opens = opens_in(start, end, interval)
    assert all(start < bar_end(opened, interval) <= end for opened in opens)
    assert all(bar_end(earlier, interval) == later for earlier, later in itertools.pairwise(opens))
    if opens:
        assert bar_end(opens[-1], interval) <= end < bar_end(bar_end(opens[-1], interval), interval)


@given(moments, spans, spans)
def test_cutting_a_range_in_two_asks_for_the_same_bars(start, one, two):
    middle, end = start + timedelta(minutes=one), start + timedelta(minutes=one + two)
    assert opens_in(start, middle, "60") + opens_in(middle, end, "60") == opens_in(start, end, "60")


@pytest.mark.parametrize(("interval", "weekday_or_day"), [("W", 0), ("M", 1)])
def test_weeks_open_on_mondays_and_months_on_the_first(interval, weekday_or_day):
    opens = opens_in(datetime(2023, 1, 15), datetime(2024, 6, 1), interval)
    assert {opened.weekday() if interval == "W" else opened.day for opened in opens} == {weekday_or_day}


@given(st.sets(st.integers(0, 400)), st.integers(1, 60))
def test_days_are_grouped_without_losing_or_adding_one(offsets, longest):
    first = datetime(2024, 1, 1).date()
    days = [first + timedelta(days=offset) for offset in sorted(offsets)]
    spans = day_windows(days, longest)
    held = [start + timedelta(days=offset) for start, stop in spans for offset in range((stop - start).days + 1)]
    assert held == days
    assert all((stop - start).days < longest for start, stop in spans)
