"""Candles as the recorded ones are, or simulated ones where there are none; and files of them in the layouts that people have."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from crossattn_core.candles.importing.asset_rows import ImportSettings
from crossattn_core.candles.importing.import_files import Understood, understand
from tests.recorded import RECORDED

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PRICES = ["open", "high", "low", "close"]


def hours(symbol: str = "BTCUSDT", rows: int = 72, start: str = "2025-03-01") -> pd.DataFrame:
    """timestamp (naive UTC, opening), prices, volume of a perpetual."""
    path = RECORDED / "bybit_1h" / f"{symbol}.parquet"
    if path.is_file():
        table = pd.read_parquet(path)
        table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True).dt.tz_localize(None).astype("datetime64[us]")
        return table[table["timestamp"] >= start].head(rows)[["timestamp", *PRICES, "volume"]].reset_index(drop=True)
    return _walk(pd.date_range(start, periods=rows, freq="h"), len(symbol))


def session_hours(symbol: str = "AAPL", rows: int = 70) -> pd.DataFrame:
    """The same of a share: hours that open at :30."""
    path = RECORDED / "yahoo_1h" / f"{symbol}.parquet"
    if path.is_file():
        table = pd.read_parquet(path)
        table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True).dt.tz_localize(None).astype("datetime64[us]")
        table = table[(table["timestamp"] >= "2025-03-03") & (table["volume"] > 0)]
        return table.head(rows)[["timestamp", *PRICES, "volume"]].reset_index(drop=True)
    days = pd.bdate_range("2025-03-10", periods=10)
    return _walk(pd.DatetimeIndex([day + pd.Timedelta(minutes=810 + 60 * k) for day in days for k in range(7)])[:rows], 7)


def _walk(opened: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = (100 * np.exp(np.cumsum(random.normal(0, 0.003, len(opened))))).round(2)
    start = np.append(close[:1], close[:-1])
    table = pd.DataFrame({"timestamp": opened.as_unit("us"), "open": start, "close": close})
    table["high"], table["low"] = table[["open", "close"]].max(axis=1) + 0.05, table[["open", "close"]].min(axis=1) - 0.05
    return table.assign(volume=random.uniform(1, 9, len(opened)).round(3))[["timestamp", *PRICES, "volume"]]


def counts(candles: pd.DataFrame, unit: str = "ms") -> pd.Series:
    """When they opened, counted since 1970."""
    return candles["timestamp"].astype(f"datetime64[{unit}]").astype("int64")


def aged(path: Path, moment: str = "2026-01-01") -> Path:
    """The file as if written then."""
    seconds = pd.Timestamp(moment, tz="UTC").timestamp()
    os.utime(path, (seconds, seconds))
    return path


def understood(path: Path, into: Path, **said: object) -> tuple[Understood, ...]:
    return understand([path], into, ImportSettings(**said), lambda: NOW)  # pyright: ignore[reportArgumentType]


def assert_same(found: pd.DataFrame, candles: pd.DataFrame) -> None:
    """Every instant and value, to the last bit."""
    columns = ["timestamp", *PRICES, "volume"]
    assert len(found) == len(candles)
    for name in columns:
        np.testing.assert_array_equal(found[name].to_numpy(), candles[name].to_numpy(), err_msg=name)
