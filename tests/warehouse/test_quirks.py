"""Recorded defects on their way to the grid: what the rules accept is joined as if nothing had happened."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS
from crossattn_core.candles.quality import validate_candles
from crossattn_core.trading_calendar import closing_times
from crossattn_core.universe import Asset
from crossattn_core.warehouse.models import load_project
from tests.recorded import RECORDED, needs_recorded
from tests.warehouse.lakes import APPLE, ListedLake, build_all, candle_table, small_experiment, warehouse_of

pytestmark = needs_recorded

ASSET = Asset(venue="yahoo", symbol="AAPL")


def accepted(name: str) -> pd.DataFrame:
    """The accepted candles of a recording."""
    rows = pd.read_parquet(RECORDED / "quirks" / f"{name}.parquet")
    opened = rows["timestamp"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    rows = rows.assign(
        asset_id=APPLE, opened_at=opened, closed_at=closing_times("XNYS", opened), fetched_at=opened, turnover=np.nan
    )
    result = validate_candles(rows[list(CANDLE_COLUMNS)], ASSET, datetime(2027, 1, 1))
    assert len(result.refused)
    return result.accepted


def on_the_grid(candles: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    """Apple's rows of ``aligned.bars``."""
    prices = ("opened_at", "closed_at", "open", "high", "low", "close", "volume")
    lake = ListedLake(pa.concat_tables([candle_table(APPLE, *(candles[name].to_numpy() for name in prices))]))
    with warehouse_of(small_experiment(first, last, symbols=("BTCUSDT", "AAPL")), lake, first, last) as connection:
        build_all(connection, load_project(), first, last)
        return connection.execute("select * from aligned.bars where asset_id = ? order by as_of", [APPLE]).df()


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("mixed_grid_AAPL_1h", date(2025, 12, 31), date(2026, 3, 13)),
        ("yahoo_raw_with_closing_prints_AAPL", date(2025, 5, 30), date(2025, 7, 30)),
    ],
)
def test_the_mark_is_the_newest_accepted_close_and_a_session_has_at_most_six_rows(name: str, first: date, last: date) -> None:
    candles = accepted(name)
    rows = on_the_grid(candles, first, last)
    newest = pd.merge_asof(rows[["as_of"]], candles[["closed_at", "close"]], left_on="as_of", right_on="closed_at")
    assert np.array_equal(rows["mark_price"].to_numpy(), newest["close"].to_numpy(), equal_nan=True)
    fresh = rows[rows["is_fresh"]]
    assert len(fresh) == candles["closed_at"].dt.ceil("h").nunique()
    assert fresh["as_of"].dt.date.value_counts().max() == 6


def test_over_a_half_day_no_closing_print_becomes_a_price() -> None:
    candles = accepted("yahoo_raw_with_closing_prints_AAPL")
    rows = on_the_grid(candles, date(2025, 7, 2), date(2025, 7, 7)).set_index("as_of")
    half_day = rows[(rows.index > "2025-07-03") & (rows.index <= "2025-07-04")]
    last = candles[candles["closed_at"] <= "2025-07-03 17:00"]["close"].iloc[-1]
    # The session's last half hour was recorded as a print alone, so its newest price is that of 16:30.
    assert half_day.index[half_day["is_tradable"]].max() == pd.Timestamp("2025-07-03 17:00")
    assert (rows[(rows.index >= "2025-07-03 17:00") & (rows.index < "2025-07-07 14:00")]["mark_price"] == last).all()
    assert rows.loc["2025-07-06 17:00", "age_hours"] == 72.5
