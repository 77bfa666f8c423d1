"""A response that breaks its own scale is held back where it is wrong, with the factor, whichever side is wrong."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.candles.quality import validate_candles
from crossattn_core.candles.scale import Neighbour, Split
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles

BTC = Asset(venue="bybit", symbol="BTCUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
NOW = datetime(2026, 1, 1)
PRICES = ["open", "high", "low", "close", "turnover"]


def scaled(asset: Asset, first: str, last: str, factor: float, *, days: int = 90) -> tuple[pd.DataFrame, np.ndarray]:
    """Candles of which those that close in [first, last) have ``factor`` times their price, and which those are."""
    rows = plain_candles(asset, datetime(2025, 3, 3), datetime(2025, 3, 3) + timedelta(days=days))
    inside = ((rows["closed_at"] > first) & (rows["closed_at"] <= last)).to_numpy()
    rows.loc[inside, PRICES] *= factor
    return rows, inside


def held_back(rows: pd.DataFrame, asset: Asset, **known) -> tuple[set, pd.DataFrame]:
    result = validate_candles(rows, asset, NOW, **known)
    return set(result.refused["closed_at"]), result.refused


@pytest.mark.parametrize("factor", [1 / 4, 1 / 2, 1 / 20, 2, 10])
def test_an_unadjusted_split_in_a_stocks_file_is_held_back_with_its_factor(factor):
    rows, after = scaled(AAPL, "2025-04-25", "2026-01-01", factor)
    assert 0 < after.sum() < (~after).sum()
    refused, table = held_back(rows, AAPL)
    assert refused == set(rows.loc[after, "closed_at"])
    assert set(table["reason"]) == {"other_scale"}
    assert table["detail"].str.contains(f"prices are {factor:.4g} times .*feed.declared_jumps").all()


def test_where_the_mistake_comes_first_it_is_the_first_that_is_held_back():
    rows, wrong = scaled(AAPL, "2025-01-01", "2025-03-20", 4.0)
    assert held_back(rows, AAPL)[0] == set(rows.loc[wrong, "closed_at"])
    rows, wrong = scaled(BTC, "2025-01-01", "2025-03-10", 100.0)
    assert held_back(rows, BTC)[0] == set(rows.loc[wrong, "closed_at"])


@pytest.mark.parametrize("pause_hours", [0, 1, 24, 24 * 7])
@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_a_redenomination_is_held_back_with_and_without_a_pause(factor, pause_hours):
    rows, after = scaled(BTC, "2025-05-10", "2026-01-01", factor)
    start = pd.Timestamp("2025-05-10") + timedelta(hours=pause_hours)
    pause = (rows["closed_at"] > pd.Timestamp("2025-05-10")) & (rows["closed_at"] <= start)
    rows, after = rows[~pause].reset_index(drop=True), after[~pause.to_numpy()]
    assert held_back(rows, BTC)[0] == set(rows.loc[after, "closed_at"])


@pytest.mark.parametrize("asset", [BTC, AAPL], ids=lambda asset: asset.venue)
@pytest.mark.parametrize("days", [1, 5, 40])
def test_days_in_another_unit_are_held_back_and_what_follows_is_stored(asset, days):
    rows, wrong = scaled(asset, "2025-04-07", str(date(2025, 4, 7) + timedelta(days=days)), 100.0, days=120)
    assert held_back(rows, asset)[0] == set(rows.loc[wrong, "closed_at"])


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_a_run_of_bad_candles_is_refused_and_its_good_successor_is_not(count):
    rows = plain_candles(BTC, datetime(2025, 3, 3), datetime(2025, 3, 20))
    rows.loc[100 : 99 + count, PRICES] *= 100
    assert held_back(rows, BTC)[0] == set(rows.loc[100 : 99 + count, "closed_at"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"close": 250.0, "high": 260.0}, "open_far_from_close"),
        ({"open": 60.0, "low": 58.0}, "open_far_from_close"),
        ({"high": 1e4}, "out_of_proportion"),
        ({"low": 1.0}, "out_of_proportion"),
        ({"close": 1e4, "high": 1e4}, "out_of_proportion"),
    ],
)
def test_one_bad_price_refuses_its_candle_alone(changes, reason):
    rows = plain_candles(BTC, datetime(2025, 3, 3), datetime(2025, 3, 20)).assign(turnover=np.nan)
    for name, value in changes.items():
        rows.loc[100, name] = value
    refused, table = held_back(rows, BTC)
    assert refused == {rows.loc[100, "closed_at"]}
    assert table["reason"].tolist() == [reason]


def test_the_stored_history_decides_which_side_is_right():
    rows, after = scaled(AAPL, "2025-03-10", "2026-01-01", 0.25)
    before = Neighbour(datetime(2025, 2, 28, 21), float(rows["open"].iloc[0]))
    assert held_back(rows, AAPL, nearest=before)[0] == set(rows.loc[after, "closed_at"])
    later = Neighbour(datetime(2025, 6, 20, 20), float(rows["close"].iloc[-1]))
    assert held_back(rows, AAPL, nearest=later)[0] == set(rows.loc[~after, "closed_at"])


def test_a_declared_day_lets_the_price_jump():
    rows, after = scaled(AAPL, "2025-04-25", "2026-01-01", 0.25)
    day = rows.loc[after, "closed_at"].iloc[0].date()
    assert held_back(rows, AAPL, declared=(day,))[0] == set()
    assert held_back(rows, AAPL, declared=(day + timedelta(days=1),))[0]


def test_the_sources_own_split_finds_one_that_is_too_small_to_be_seen():
    rows, after = scaled(AAPL, "2025-04-25", "2026-01-01", 1 / 1.5)
    at = rows.loc[after, "opened_at"].iloc[0].to_pydatetime()
    assert held_back(rows, AAPL)[0] == set()
    assert held_back(rows, AAPL, splits=(Split(at, 1.5),))[0] == set(rows.loc[after, "closed_at"])
    adjusted, _ = scaled(AAPL, "2025-04-25", "2026-01-01", 1.0)
    assert held_back(adjusted, AAPL, splits=(Split(at, 1.5),))[0] == set()
    stored = Neighbour(at - timedelta(hours=17), float(adjusted["close"].iloc[0]) * 1.5)
    tail = adjusted[after].reset_index(drop=True)
    assert held_back(tail, AAPL, nearest=stored)[0] == set()
    assert held_back(tail, AAPL, nearest=stored, splits=(Split(at, 1.5),))[0] == set(tail["closed_at"])


def test_a_crash_that_was_traded_through_is_stored():
    rows = plain_candles(BTC, datetime(2025, 3, 3), datetime(2025, 3, 20)).assign(turnover=np.nan)
    path = np.exp(-np.clip((np.arange(len(rows)) - 100) * 0.5, 0, 8.0))
    close = rows["close"].to_numpy() * path
    opened = np.concatenate([[close[0]], close[:-1]])
    rows = rows.assign(open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close))
    assert held_back(rows, BTC)[0] == set()


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 300), st.integers(1, 60), st.sampled_from([0.001, 0.01, 0.25, 4.0, 100.0, 1000.0]), st.integers(0, 2**31))
def test_a_stretch_on_another_scale_never_takes_a_good_candle_with_it(start, length, factor, seed):
    rows = plain_candles(BTC, datetime(2025, 3, 3), datetime(2025, 4, 20))
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.01, len(rows)).cumsum())
    close = rows["close"].to_numpy() * noise
    opened = np.concatenate([[close[0]], close[:-1]])
    rows = rows.assign(open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close), turnover=np.nan)
    rows.loc[start : start + length - 1, PRICES] *= factor
    assert held_back(rows, BTC)[0] == set(rows.loc[start : start + length - 1, "closed_at"])
