"""Every feature against two independent oracles (pandas, and a plain loop) on real candles, to 1e-9 before the cast to FLOAT."""

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sqlglot import exp, parse_one

from crossattn_core.candles.lake.day_files import FUNDING_SCHEMA
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.run import set_range
from crossattn_core.warehouse.trailing import trailing_features
from tests.recorded import RECORDED, needs_recorded
from tests.warehouse.lakes import APPLE, BITCOIN, ListedLake, build_all, candle_table, small_experiment, warehouse_of

pytestmark = needs_recorded

FIRST, LAST = date(2024, 10, 1), date(2025, 1, 31)  # a change of clocks, Thanksgiving, a half day, Christmas, a day of mourning
EXPERIMENT = small_experiment(FIRST, LAST, symbols=("BTCUSDT", "AAPL"))
FILES = {BITCOIN: "bybit_1h/BTCUSDT.parquet", APPLE: "yahoo_1h/AAPL.parquet"}
PROJECT = load_project()


def recorded_candles(asset_id: str) -> pd.DataFrame:
    """One asset's recorded candles, closes taken from its calendar, with closed_at in the period."""
    rows = pd.read_parquet(next(RECORDED.glob(FILES[asset_id])))
    opened_at = pd.to_datetime(rows["timestamp"], utc=True).dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    calendar = "24/7" if asset_id == BITCOIN else "XNYS"
    bars = expected_bars(calendar, datetime(2024, 9, 1), datetime(2025, 3, 1))
    place = np.searchsorted(bars.opened_T, opened_at)
    known = (place < len(bars)) & (bars.opened_T[np.minimum(place, len(bars) - 1)] == opened_at)
    rows = rows.assign(opened_at=opened_at)[known].assign(closed_at=bars.closed_T[place[known]])
    start, end = pd.Timestamp(FIRST), pd.Timestamp(LAST + timedelta(1))
    return rows[(rows["closed_at"] > start) & (rows["closed_at"] <= end)].sort_values("closed_at", ignore_index=True)


def own_bars(candles: pd.DataFrame) -> pd.DataFrame:
    """The oracle's own way to grid bars: candles that close in one hour are one bar."""
    hour = candles["closed_at"].dt.ceil("h").rename("as_of")
    grouped = candles.groupby(hour)
    return grouped.agg(
        opened_at=("opened_at", "first"),
        closed_at=("closed_at", "last"),
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
    ).reset_index()


def pandas_oracle(bars: pd.DataFrame) -> pd.DataFrame:
    previous_close, previous_closed_at = bars["close"].shift(), bars["closed_at"].shift()
    pause = bars["opened_at"] > previous_closed_at
    made = pd.DataFrame({"as_of": bars["as_of"]})
    made["log_return"] = np.log(bars["close"] / previous_close.where(~pause, bars["open"]))
    made["gap_return"] = np.log(bars["open"] / previous_close).where(pause, 0.0).where(previous_close.notna())
    made.loc[previous_close.isna(), "log_return"] = np.nan
    made["intraday_return"] = (bars["close"] - bars["open"]) / bars["open"]
    made["range_share"] = (bars["high"] - bars["low"]) / bars["close"]
    made["relative_volume"] = bars["volume"] / bars["volume"].rolling(20).mean()
    made["volatility"] = made["log_return"].rolling(20).std()
    change = bars["close"].diff()
    gains, losses = change.clip(lower=0).rolling(14).sum(), (-change).clip(lower=0).rolling(14).sum()
    made["rsi_14"] = 100 * gains / (gains + losses)
    fast, slow = (bars["close"].ewm(span=span, adjust=False).mean() for span in (12, 26))
    macd = (fast - slow).where(np.arange(len(bars)) >= 25)
    signal = (fast - slow).ewm(span=9, adjust=False).mean().where(np.arange(len(bars)) >= 33)
    made["macd"], made["macd_signal"] = macd / bars["close"], signal / bars["close"]
    made["macd_histogram"] = (macd - signal) / bars["close"]
    made["pause_hours"] = (bars["opened_at"] - previous_closed_at).dt.total_seconds() / 3600
    return made


def loop_oracle(bars: pd.DataFrame) -> pd.DataFrame:
    """The same, one bar after another, with nothing but arithmetic."""
    rows: list[dict[str, float]] = []
    table = bars.to_dict("records")
    returns: list[float] = []
    mean: dict[int, float] = {}
    signal = gain_mean = loss_mean = math.nan
    for n, bar in enumerate(table):
        row = dict.fromkeys(
            ("log_return", "gap_return", "relative_volume", "volatility", "rsi_14", "rsi_14_wilder", "macd_histogram"), math.nan
        )
        row["intraday_return"] = bar["close"] / bar["open"] - 1
        row["range_share"] = bar["high"] / bar["close"] - bar["low"] / bar["close"]
        before = table[n - 1] if n else None
        if before:
            pause = bar["opened_at"] > before["closed_at"]
            row["gap_return"] = math.log(bar["open"]) - math.log(before["close"]) if pause else 0.0
            row["log_return"] = math.log(bar["close"]) - math.log(before["close"]) - row["gap_return"]
            returns.append(row["log_return"])
        if n >= 19:
            row["relative_volume"] = 20 * bar["volume"] / math.fsum(past["volume"] for past in table[n - 19 : n + 1])
        if n >= 20:
            newest = returns[-20:]
            centre = math.fsum(newest) / 20
            row["volatility"] = math.sqrt(math.fsum((value - centre) ** 2 for value in newest) / 19)
        changes = [table[m]["close"] - table[m - 1]["close"] for m in range(max(1, n - 13), n + 1)]
        if n >= 14:
            up, down = math.fsum(c for c in changes if c > 0), -math.fsum(c for c in changes if c < 0)
            row["rsi_14"] = 100 * up / (up + down)
            if n == 14:
                gain_mean, loss_mean = up / 14, down / 14
            else:
                gain_mean += (max(changes[-1], 0) - gain_mean) / 14
                loss_mean += (max(-changes[-1], 0) - loss_mean) / 14
            row["rsi_14_wilder"] = 100 * gain_mean / (gain_mean + loss_mean)
        for span in (12, 26):
            mean[span] = bar["close"] if n == 0 else mean[span] + 2 / (span + 1) * (bar["close"] - mean[span])
        macd = mean[12] - mean[26]
        signal = macd if n == 0 else signal + 0.2 * (macd - signal)
        if n >= 33:
            row["macd_histogram"] = (macd - signal) / bar["close"]
        rows.append({"as_of": bar["as_of"], **row})
    return pd.DataFrame(rows)


def uncast(sql: str) -> str:
    """The model's SQL without its casts to FLOAT."""

    def widened(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.FLOAT:
            return exp.cast(node.this, "double")
        return node

    return parse_one(sql, dialect="duckdb").transform(widened).sql(dialect="duckdb")


@pytest.fixture(scope="module")
def candles() -> dict[str, pd.DataFrame]:
    return {asset_id: recorded_candles(asset_id) for asset_id in FILES}


@pytest.fixture(scope="module")
def warehouse(candles: dict[str, pd.DataFrame]) -> Iterator[duckdb.DuckDBPyConnection]:
    tables = [
        candle_table(
            asset_id, *(rows[name].to_numpy() for name in ("opened_at", "closed_at", "open", "high", "low", "close", "volume"))
        )
        for asset_id, rows in candles.items()
    ]
    lake = ListedLake(pa.concat_tables(tables), FUNDING_SCHEMA.empty_table())
    with warehouse_of(EXPERIMENT, lake, FIRST, LAST) as connection:
        build_all(connection, PROJECT, FIRST, LAST)
        set_range(connection, datetime(2024, 10, 1), datetime(2025, 2, 1), datetime(1970, 1, 1))
        connection.execute(f"create table wide as {uncast(PROJECT.model('features.bar').sql)}")
        read = connection.sql("select * from aligned.fresh_bars").to_arrow_table()
        made = trailing_features(read, datetime(2024, 10, 1), datetime(2025, 2, 1), np.float64)
        connection.register("made", made)
        connection.execute("create table wide_trailing as from made")
        yield connection


def compared(made: pd.DataFrame, oracle: pd.DataFrame, features: list[str], tolerance: float) -> None:
    assert np.array_equal(made["as_of"].to_numpy(), oracle["as_of"].to_numpy())
    for name in features:
        value, wanted = made[name].to_numpy(dtype=float), oracle[name].to_numpy(dtype=float)
        assert np.array_equal(np.isnan(value), np.isnan(wanted)), name
        scale = max(1.0, np.nanmax(np.abs(wanted)))
        assert np.nanmax(np.abs(value - wanted)) <= tolerance * scale, name


@pytest.mark.parametrize("asset_id", [BITCOIN, APPLE])
@pytest.mark.parametrize(
    ("table", "names", "pandas_only"),
    [
        ("wide", ["log_return", "gap_return", "intraday_return", "range_share"], ["pause_hours"]),
        ("wide_trailing", ["relative_volume", "volatility", "rsi_14", "macd_histogram"], ["macd", "macd_signal"]),
    ],
)
def test_features_agree_with_pandas_and_a_loop(
    warehouse: duckdb.DuckDBPyConnection,
    candles: dict[str, pd.DataFrame],
    asset_id: str,
    table: str,
    names: list[str],
    pandas_only: list[str],
) -> None:
    made = warehouse.execute(f"select * from {table} where asset_id = ? order by as_of", [asset_id]).df()
    bars = own_bars(candles[asset_id])
    compared(made, pandas_oracle(bars), [*names, *pandas_only], 1e-9)
    compared(made, loop_oracle(bars), names, 1e-9)


@pytest.mark.parametrize("asset_id", [BITCOIN, APPLE])
def test_wilders_rsi_agrees_with_a_loop(
    warehouse: duckdb.DuckDBPyConnection, candles: dict[str, pd.DataFrame], asset_id: str
) -> None:
    made = warehouse.execute("select * from wide_trailing where asset_id = ? order by as_of", [asset_id]).df()
    compared(made, loop_oracle(own_bars(candles[asset_id])), ["rsi_14_wilder"], 1e-9)


@pytest.mark.parametrize(("table", "wide"), [("features.bar", "wide"), ("features.trailing", "wide_trailing")])
def test_stored_features_are_the_wide_ones_as_float(warehouse: duckdb.DuckDBPyConnection, table: str, wide: str) -> None:
    stored = warehouse.execute(f"select * from {table} order by asset_id, as_of").df()
    before = warehouse.execute(f"select * from {wide} order by asset_id, as_of").df()
    floats = [name for name in stored if stored[name].dtype == np.float32]
    assert len(floats) >= 7
    for name in floats:
        assert np.array_equal(stored[name].to_numpy(), before[name].to_numpy().astype(np.float32), equal_nan=True), name


def test_returns_and_gaps_add_up_to_the_change_of_price(
    warehouse: duckdb.DuckDBPyConnection, candles: dict[str, pd.DataFrame]
) -> None:
    for asset_id, rows in candles.items():
        total = warehouse.execute("select sum(log_return + gap_return) from wide where asset_id = ?", [asset_id]).fetchall()[0][0]
        bars = own_bars(rows)
        assert total == pytest.approx(math.log(bars["close"].iloc[-1] / bars["close"].iloc[0]), abs=1e-9)


def test_a_stock_has_gaps_at_sessions_and_nowhere_else(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = (
        warehouse.execute("select as_of, gap_return, pause_hours from wide where asset_id = ? order by as_of", [APPLE])
        .df()
        .iloc[1:]
    )
    opening = rows["pause_hours"] > 0
    assert (rows.loc[~opening, "gap_return"] == 0).all()
    assert (rows.loc[opening, "gap_return"] != 0).mean() > 0.95
    # The first bar closes at 10:30 in New York: 14:30 UTC in summer, 15:30 in winter.
    assert set(rows.loc[opening, "as_of"].dt.hour) == {15, 16}
    assert rows["pause_hours"].max() > 65  # a weekend


def test_the_mark_is_the_newest_close_at_every_hour(
    warehouse: duckdb.DuckDBPyConnection, candles: dict[str, pd.DataFrame]
) -> None:
    for asset_id, rows in candles.items():
        made = warehouse.execute(
            "select as_of, mark_price, age_hours, trade_price from aligned.bars where asset_id = ? order by as_of", [asset_id]
        ).df()
        joined = pd.merge_asof(
            made, rows[["closed_at", "close"]], left_on="as_of", right_on="closed_at", allow_exact_matches=True
        )
        assert np.array_equal(made["mark_price"].to_numpy(), joined["close"].to_numpy(), equal_nan=True)
        age = (joined["as_of"] - joined["closed_at"]).dt.total_seconds() / 3600
        assert np.allclose(made["age_hours"], age, equal_nan=True)
        traded = joined["close"].where(joined["as_of"] - joined["closed_at"] < pd.Timedelta("1h"))
        assert np.array_equal(made["trade_price"].to_numpy(), traded.to_numpy(), equal_nan=True)
