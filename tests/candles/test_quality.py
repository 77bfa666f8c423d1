"""A candle that breaks a rule is refused with the rule's name; a good one is never refused."""

import json
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, empty_rows
from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.quality import REASONS, Neighbour, validate_candles, validate_funding
from crossattn_core.days import to_aware
from crossattn_core.trading_calendar import closing_times
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles
from tests.recorded import RECORDED, needs_recorded

BTC = Asset(venue="bybit", symbol="BTCUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
START, END, NOW = datetime(2025, 3, 3), datetime(2025, 3, 13), datetime(2025, 6, 1)


def reasons(rows: pd.DataFrame, asset: Asset = BTC, now: datetime = NOW, **more) -> list[str]:
    return validate_candles(rows, asset, now, **more).refused["reason"].tolist()


def with_change(place: int, asset: Asset = BTC, **changes) -> pd.DataFrame:
    rows = plain_candles(asset, START, END)
    for name, value in changes.items():
        rows.loc[place, name] = value
    return rows


@pytest.mark.parametrize("asset", [BTC, AAPL])
def test_a_faultless_series_is_accepted_as_it_came(asset):
    rows = plain_candles(asset, START, END)
    result = validate_candles(rows, asset, NOW)
    assert result.refused.empty
    pd.testing.assert_frame_equal(result.accepted, rows, check_exact=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"close": np.nan}, "not_a_number"),
        ({"high": np.inf}, "not_a_number"),
        ({"volume": np.nan}, "not_a_number"),
        ({"low": 0.0}, "not_positive"),
        ({"open": -1.0}, "not_positive"),
        ({"volume": -1.0}, "negative_volume"),
        ({"turnover": -1.0}, "negative_volume"),
        ({"high": 1.0}, "ohlc_order"),
        ({"low": 1e6}, "ohlc_order"),
        ({"turnover": 1e9}, "turnover_outside_range"),
        ({"opened_at": pd.Timestamp("2025-03-05 00:20")}, "off_grid"),
    ],
)
def test_each_rule_refuses_its_candle_and_no_other(changes, reason):
    result = validate_candles(with_change(60, **changes), BTC, NOW)
    assert result.refused["reason"].tolist() == [reason]
    assert result.refused["detail"].tolist() == [REASONS[reason]]
    assert len(result.accepted) == 239


def test_a_bad_close_refuses_its_candle_and_not_the_next():
    rows = with_change(60, open=500.0, high=900.0, low=400.0, close=800.0, turnover=6500.0)
    assert reasons(rows) == ["open_far_from_close"]
    assert len(validate_candles(rows, BTC, NOW).accepted) == len(rows) - 1


def test_a_gap_overnight_is_no_fault():
    rows = plain_candles(AAPL, START, END)
    second_day = rows["closed_at"] > pd.Timestamp("2025-03-04")
    rows.loc[second_day, ["open", "high", "low", "close", "turnover"]] *= 1.6
    assert reasons(rows, AAPL) == []


def test_a_candle_without_turnover_is_accepted():
    rows = plain_candles(AAPL, START, END).assign(turnover=np.nan)
    assert reasons(rows, AAPL) == []


def test_a_candle_without_trades_is_accepted():
    rows = with_change(60, volume=0.0, turnover=0.0)
    assert reasons(rows) == []


def test_the_first_of_two_candles_of_one_bar_stays():
    rows = plain_candles(BTC, START, END)
    twice = pd.concat([rows, rows.iloc[[50]].assign(close=lambda row: row["open"])])
    result = validate_candles(twice, BTC, NOW)
    assert result.refused["reason"].tolist() == ["duplicate"]
    pd.testing.assert_frame_equal(result.accepted, rows, check_exact=True)


def test_a_candle_that_ends_after_the_clock_is_refused():
    rows = plain_candles(BTC, START, END)
    assert reasons(rows, now=rows["closed_at"].iloc[-1] - timedelta(microseconds=1)) == ["not_closed"]


def test_prices_on_another_scale_than_the_history_are_refused_as_a_whole():
    rows = plain_candles(AAPL, START, END)
    close = float(rows["open"].iloc[0])
    assert reasons(rows, AAPL, nearest=Neighbour(START, close)) == []
    assert set(reasons(rows, AAPL, nearest=Neighbour(START, close / 80))) == {"other_scale"}
    assert validate_candles(rows, AAPL, NOW, nearest=Neighbour(START, close * 10)).accepted.empty
    assert set(reasons(rows, AAPL, nearest=Neighbour(END, close / 80))) == {"other_scale"}


def test_a_price_may_move_far_in_a_year_that_was_not_stored():
    rows = plain_candles(BTC, START, END)
    a_year_ago = Neighbour(START - timedelta(days=365), float(rows["open"].iloc[0]) / 4)
    assert reasons(rows, nearest=a_year_ago) == []


def test_a_stock_that_trades_at_night_is_another_instrument():
    rows = plain_candles(BTC, START, END).assign(asset_id=AAPL.asset_id)
    result = validate_candles(rows, AAPL, NOW)
    assert result.accepted.empty
    assert set(result.refused["reason"]) == {"other_calendar"}


def test_nothing_in_nothing_out():
    assert validate_candles(empty_rows("candles"), BTC, NOW).accepted.empty
    assert validate_funding(empty_rows("funding"), NOW).accepted.empty


def test_funding_that_is_no_rate_is_refused():
    settled = pd.date_range("2025-03-03 08:00", periods=5, freq="8h")
    rows = pd.DataFrame({"asset_id": BTC.asset_id, "settled_at": settled, "rate": [1e-4, np.nan, 0.5, -1e-4, 1e-4]})
    rows = pd.concat([rows, rows.tail(1)]).assign(fetched_at=pd.Timestamp(NOW))
    result = validate_funding(rows, settled[3].to_pydatetime())
    assert result.refused["reason"].tolist() == ["not_a_rate", "not_a_rate", "not_closed", "not_closed"]
    assert len(result.accepted) == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_candle_is_either_accepted_untouched_or_refused_untouched(data):
    rows = plain_candles(BTC, START, datetime(2025, 3, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    for _ in range(data.draw(st.integers(0, 12))):
        place = data.draw(st.integers(0, len(rows) - 1))
        name = data.draw(st.sampled_from(["open", "high", "low", "close", "volume", "turnover"]))
        rows.loc[place, name] = data.draw(
            st.one_of(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e12]), st.floats(1e-3, 1e4))
        )
    shuffled = rows.iloc[rng.permutation(len(rows))]
    result = validate_candles(shuffled, BTC, NOW)
    together = pd.concat([result.accepted, result.refused[list(CANDLE_COLUMNS)]]).sort_values("closed_at")
    pd.testing.assert_frame_equal(together.reset_index(drop=True), rows, check_exact=True)
    good = result.accepted
    assert good["closed_at"].is_monotonic_increasing
    assert good["closed_at"].is_unique
    assert (good["low"] <= good[["open", "close"]].min(axis=1)).all()
    assert (good["high"] >= good[["open", "close"]].max(axis=1)).all()
    assert (good[["open", "high", "low", "close"]] > 0).all().all()
    assert (good["volume"] >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 47), max_size=20), st.sampled_from([BTC, AAPL]))
def test_missing_candles_never_make_their_neighbours_suspect(dropped, asset):
    rows = plain_candles(asset, START, datetime(2025, 3, 12))
    kept = rows.drop(index=[place for place in dropped if place < len(rows)]).reset_index(drop=True)
    assert reasons(kept, asset) == []


@needs_recorded
def test_recorded_candles_of_both_venues_pass_every_rule():
    feed = FilesFeed(RECORDED, lambda: to_aware(datetime(2026, 1, 1)))
    for asset in (BTC, AAPL, Asset(venue="bybit", symbol="XRPUSDT"), Asset(venue="yahoo", symbol="TSLA")):
        rows = feed.candles(asset, datetime(2022, 1, 1), datetime(2026, 1, 1))
        assert validate_candles(rows, asset, datetime(2026, 1, 1)).refused.empty, asset.symbol


@needs_recorded
def test_recorded_turnover_lies_between_low_and_high():
    table = pd.read_parquet(RECORDED / "bybit_1h_with_turnover/DOGEUSDT.parquet")
    opened = table["timestamp"].dt.tz_convert(None).astype("datetime64[us]")
    closed = opened + pd.Timedelta(hours=1)
    rows = table.assign(asset_id="bybit:linear:DOGEUSDT", opened_at=opened, closed_at=closed, fetched_at=opened)
    assert reasons(rows[list(CANDLE_COLUMNS)], Asset(venue="bybit", symbol="DOGEUSDT"), datetime(2026, 1, 1)) == []


@needs_recorded
def test_a_file_named_aapl_that_holds_bitcoin_is_refused_whole():
    table = pd.read_parquet(RECORDED / "quirks/cross_ticker_contamination_AAPL_1d.parquet")
    opened = table["time"].to_numpy().astype("datetime64[us]")
    rows = table.assign(asset_id=AAPL.asset_id, opened_at=opened, fetched_at=opened, turnover=np.nan)
    as_hours = rows.assign(closed_at=closing_times("XNYS", opened))[list(CANDLE_COLUMNS)]
    assert validate_candles(as_hours, AAPL, datetime(2026, 1, 1)).accepted.empty
    as_days = rows.assign(closed_at=opened + np.timedelta64(1, "D"))[list(CANDLE_COLUMNS)]
    assert validate_candles(as_days, AAPL, datetime(2026, 1, 1), interval=timedelta(days=1)).accepted.empty


@needs_recorded
def test_bitcoin_on_the_right_sessions_is_recognised_by_its_price():
    table = pd.read_parquet(RECORDED / "quirks/cross_ticker_contamination_AAPL_1d.parquet")
    good = plain_candles(AAPL, datetime(2021, 3, 1), datetime(2021, 6, 1))
    scale = table["close"].median() / good["close"].iloc[0]
    rows = good.assign(**{name: good[name] * scale for name in ("open", "high", "low", "close", "turnover")})
    assert set(reasons(rows, AAPL, nearest=Neighbour(datetime(2021, 2, 26, 21), 121.0))) == {"other_scale"}


@needs_recorded
def test_closing_prints_are_kept_apart_from_candles():
    feed = FilesFeed(RECORDED / "quirks", lambda: to_aware(datetime(2026, 1, 1)))
    table = pd.read_parquet(RECORDED / "quirks/yahoo_raw_with_closing_prints_AAPL.parquet")
    opened = table["timestamp"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    rows = table.assign(
        asset_id=AAPL.asset_id, opened_at=opened, closed_at=closing_times("XNYS", opened), fetched_at=opened, turnover=np.nan
    )[list(CANDLE_COLUMNS)]
    result = validate_candles(rows, AAPL, feed.now().replace(tzinfo=None))
    found = result.refused["reason"].value_counts().to_dict()
    assert found == {"closing_print": 1}
    assert (result.accepted["closed_at"].dt.date.value_counts() <= 7).all()


@needs_recorded
def test_where_the_grid_moves_only_the_bars_on_the_venues_grid_are_kept():
    table = pd.read_parquet(RECORDED / "quirks/mixed_grid_AAPL_1h.parquet")
    opened = table["timestamp"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    rows = table.assign(
        asset_id=AAPL.asset_id, opened_at=opened, closed_at=closing_times("XNYS", opened), fetched_at=opened, turnover=np.nan
    )[list(CANDLE_COLUMNS)]
    result = validate_candles(rows, AAPL, datetime(2027, 1, 1))
    assert (result.accepted["opened_at"].dt.minute == 30).all()
    assert result.refused["reason"].unique().tolist() == ["off_grid"]
    assert len(result.accepted) == 110


@needs_recorded
def test_candles_caught_while_forming_are_refused_by_the_clock_of_that_moment():
    caught = json.loads((RECORDED / "quirks/bybit_unclosed_candles.json").read_text())
    for case in caught:
        opened = pd.Timestamp(case["timestamp"]).tz_convert(None).as_unit("us")
        row = {"asset_id": "x", "opened_at": opened, "closed_at": opened + pd.Timedelta(hours=1), "fetched_at": opened}
        rows = pd.DataFrame([row | {"turnover": np.nan} | case["unclosed"]])[list(CANDLE_COLUMNS)]
        asset = Asset(venue="bybit", symbol=case["symbol"])
        assert reasons(rows, asset, now=(opened + pd.Timedelta(minutes=20)).to_pydatetime()) == ["not_closed"]
