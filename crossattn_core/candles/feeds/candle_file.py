"""One file of candles or payments as rows: which column is the time, in which unit, of which symbol, how far apart.

The place of a row decides what belongs together, never the index that pandas wrote beside it. A row that cannot be used as it
lies is handed on with its fault, at the time of its nearest usable neighbour in the file, so that the ingest counts it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.candles.feeds.feed import PRICE_COLUMNS
from crossattn_core.errors import PermanentFeedError
from crossattn_core.grid import Grid, bar_names
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset

__all__ = ["SUFFIXES", "FileRows", "read_candles", "read_payments", "spacing_faults"]

SUFFIXES = (".parquet", ".csv")
_SYMBOL_COLUMNS = ("symbol", "ticker", "asset_id")
_UNITS = ((1e8, 1e11, 1_000_000.0), (1e11, 1e14, 1_000.0), (1e14, 1e17, 1.0), (1e17, np.inf, 1e-3))
"""(from, below, microseconds in one) of counts since 1970 in s, ms, us and ns: each is good for the years 1973 to 5138."""
_REGULAR_RUN = 12
"""So many candles in a row, each the same number of bars behind the one before, are longer candles and not gaps."""
_NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class FileRows:
    """The candles of one file, in its order."""

    rows: pd.DataFrame
    """opened_at, the prices, volume, turnover, fault (a key of ``quality.REASONS``; '' where there is none)."""
    written_at: datetime | None
    """When the file was written (naive UTC): a candle that closes later was still forming. None where that cannot be."""


def read_table(path: Path) -> pd.DataFrame:
    """The file with a plain index; one that was written with it becomes a column: '' where it is a time, or else its name.

    Raises:
        PermanentFeedError: not a file of its kind.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise PermanentFeedError(f"{path}: cannot be read as {path.suffix[1:]} ({error}); replace the file") from error
    columns = {str(name): table.iloc[:, place].array for place, name in enumerate(table.columns)}
    for place, name in enumerate(table.index.names):
        values = table.index.get_level_values(place)
        if isinstance(values, pd.DatetimeIndex):
            columns[""] = values.array
        elif name is not None:
            columns.setdefault(str(name), values.array)
    if path.suffix == ".csv" and len(table.columns) and str(table.columns[0]).startswith("Unnamed: 0"):
        first = columns.pop(str(table.columns[0]))
        if not pd.api.types.is_numeric_dtype(first.dtype):
            columns[""] = first  # a time index without a name, as to_csv writes it
    return pd.DataFrame(columns)


def read_candles(path: Path, asset: Asset, since: datetime) -> FileRows:
    """The asset's rows of one candle file.

    Args:
        since: naive UTC; an instant before it is no instant of this venue.

    Raises:
        PermanentFeedError: a column is missing, the file is another symbol's, or no row has a usable instant.
    """
    table = read_table(path)
    opened_T = read_instants(path, table, "opened_at", "timestamp")
    missing = [name for name in (*PRICE_COLUMNS, "volume") if name not in table]
    if missing:
        raise PermanentFeedError(f"{path}: no column {', '.join(missing)}; it has {_listed(table)}")
    rows = pd.DataFrame({"opened_at": opened_T})
    for name in (*PRICE_COLUMNS, "volume", "turnover"):
        rows[name] = number_column(table[name]) if name in table else np.nan
    return _usable(path, rows[_own_rows(path, table, asset)].reset_index(drop=True), "opened_at", asset, since)


def read_payments(
    path: Path, asset: Asset, key: str, times: Sequence[str], values: Sequence[str], name: str, since: datetime
) -> FileRows:
    """The asset's rows of one file of funding or dividends: ``key``, ``name`` and fault.

    Args:
        key, name: what the instant and the value are called here; ``times`` and ``values`` are the file's names.

    Raises:
        PermanentFeedError: as ``read_candles``.
    """
    table = read_table(path)
    instant_T = read_instants(path, table, *times)
    held = next((value for value in values if value in table), None)
    if held is None:
        raise PermanentFeedError(f"{path}: no column {' or '.join(values)}; it has {_listed(table)}")
    rows = pd.DataFrame({key: instant_T, name: number_column(table[held])})
    return _usable(path, rows[_own_rows(path, table, asset)].reset_index(drop=True), key, asset, since)


def _usable(path: Path, rows: pd.DataFrame, key: str, asset: Asset, since: datetime) -> FileRows:
    """The rows with those marked that have no instant of the venue's time."""
    instant_T = rows[key].to_numpy()
    is_usable_T = instant_T >= np.datetime64(since, "us")
    if len(rows) and not is_usable_T.any():
        raise PermanentFeedError(
            f"{path}: no row has an instant since {since:%Y-%m-%d}, when {asset.venue} began; "
            "use ISO 8601 in UTC, or counts of s, ms, us or ns since 1970"
        )
    instant_T = _placed(instant_T, is_usable_T)
    fault_T = np.where(is_usable_T, "", "no_instant").astype(object)
    return FileRows(rows.assign(**{key: instant_T}, fault=fault_T), _written_at(path, instant_T))


def number_column(values: pd.Series) -> NDArray[np.float64]:
    """A column as floats by place; what is no number is NaN."""
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def read_instants(path: Path, table: pd.DataFrame, *names: str) -> NDArray[np.datetime64]:
    """The time of each row: the first of ``names`` that the file has, or else its time index. Naive UTC; NaT where missing.

    Counts since 1970 are read by row, each in the unit that its size shows: archives change theirs in mid-file.

    Raises:
        PermanentFeedError: there is no such column, it holds no instants, or column and index differ.
    """
    name = next((name for name in names if name in table), "" if "" in table else None)
    if name is None:
        raise PermanentFeedError(f"{path}: no column {' or '.join(names)}; it has {_listed(table)}")
    instant_T = _instants(path, name or "the index", table[name])
    if name and "" in table:
        other_T = _instants(path, "the index", table[""])
        if not ((instant_T == other_T) | (np.isnat(instant_T) & np.isnat(other_T))).all():
            raise PermanentFeedError(f"{path}: its time index and its column {name} name different instants; drop one of them")
    return instant_T


def _instants(path: Path, name: str, values: pd.Series) -> NDArray[np.datetime64]:
    if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.notna().sum() >= values.notna().sum() > 0:
            values = numbers
    if pd.api.types.is_numeric_dtype(values.dtype):
        count_T = values.to_numpy(dtype=float, na_value=np.nan)
        exact_T = values.to_numpy(dtype=np.int64, na_value=0) if pd.api.types.is_integer_dtype(values.dtype) else None
        instant_T = np.full(len(count_T), _NEVER)
        for low, high, factor in _UNITS:
            is_unit_T = (count_T >= low) & (count_T < high)
            if exact_T is not None:
                own_T = exact_T[is_unit_T]
                counted_T = own_T * int(factor) if factor >= 1 else own_T // 1000
            else:
                counted_T = np.round(count_T[is_unit_T] * factor).astype(np.int64)
            instant_T[is_unit_T] = counted_T.astype("datetime64[us]")
        return instant_T
    try:
        moments = pd.to_datetime(values, utc=True, format="ISO8601") if values.dtype == object or _is_text(values) else values
        moments = pd.to_datetime(moments, utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise PermanentFeedError(
            f"{path}: column {name} holds no instants ({str(error).splitlines()[0]}); use ISO 8601 in UTC"
        ) from error
    return moments.dt.tz_convert(None).to_numpy().astype("datetime64[us]")


def _is_text(values: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(values.dtype)


def _own_rows(path: Path, table: pd.DataFrame, asset: Asset) -> NDArray[np.bool_]:
    """Which rows are the asset's: all, or by the file's column of symbols."""
    name = next((name for name in table if str(name).lower() in _SYMBOL_COLUMNS), None)
    if name is None or not len(table):
        return np.ones(len(table), dtype=bool)
    own = {_bare(asset.symbol), _bare(asset.asset_id)}
    named = pd.Series(table[name].to_numpy()).astype(str)
    own_T = named.map({text: _bare(text) in own for text in named.unique()}).to_numpy(dtype=bool)
    if not own_T.any():
        raise PermanentFeedError(
            f"{path}: its column {name} names {', '.join(sorted(named.unique())[:5])} and never {asset.symbol}; "
            "the file is another instrument's: replace it or drop the symbol"
        )
    return own_T


def _bare(symbol: str) -> str:
    """'BTC/USDT', 'btc-usdt' and 'BTC/USDT:USDT' as 'BTCUSDT'; a key of three parts whole."""
    text = symbol.split(":")[0] if symbol.count(":") == 1 else symbol
    return re.sub(r"[^A-Z0-9.^=:]", "", text.upper())


def _placed(instant_T: NDArray[np.datetime64], is_usable_T: NDArray[np.bool_]) -> NDArray[np.datetime64]:
    """Unusable instants replaced by that of the usable row before, or of the first one."""
    if is_usable_T.all() or not is_usable_T.any():
        return instant_T
    before_T = np.maximum.accumulate(np.where(is_usable_T, np.arange(len(instant_T)), -1))
    return instant_T[np.where(before_T >= 0, before_T, np.flatnonzero(is_usable_T)[0])]


def _written_at(path: Path, opened_T: NDArray[np.datetime64]) -> datetime | None:
    written_at = np.datetime64(path.stat().st_mtime_ns // 1000, "us")
    # A file cannot be older than what it holds: then its time was lost on the way.
    return written_at.item() if len(opened_T) and written_at > opened_T.min() else None


def spacing_faults(path: Path, asset: Asset, grid: Grid, opened_T: NDArray[np.datetime64]) -> NDArray[np.object_]:
    """The fault of each row that is no candle of one bar: '' or 'other_length'.

    The spacing decides: a candle with another row before its close is a shorter one, a long run of candles each as many bars
    behind the one before are longer ones.

    Raises:
        PermanentFeedError: most rows are of another length; says which, and how to read them.
    """
    fault_T = np.full(len(opened_T), "", dtype=object)
    at_U = np.unique(opened_T)
    if len(at_U) < 2:
        return fault_T
    gap_U = np.diff(at_U)
    length, count = np.unique(gap_U, return_counts=True)
    usual = length[count.argmax()]
    if usual < grid.step_us:
        raise PermanentFeedError(_other_length(path, asset, grid, usual.item()))
    day = timedelta(days=1)
    bars = expected_bars(asset.calendar, at_U[0].item() - day, at_U[-1].item() + 2 * day, grid.step)
    place_U = np.searchsorted(bars.opened_T, at_U)
    is_bar_U = bars.opened_T[np.minimum(place_U, len(bars) - 1)] == at_U if len(bars) else np.zeros(len(at_U), dtype=bool)
    on_U = np.flatnonzero(is_bar_U)
    if not len(on_U):
        return fault_T
    step_U = np.diff(place_U[on_U])
    if len(step_U) >= 3:
        steps, count = np.unique(step_U, return_counts=True)
        if steps[count.argmax()] > 1 and count.max() * 2 > len(step_U):
            raise PermanentFeedError(_other_length(path, asset, grid, usual.item()))
    is_wrong_U = np.zeros(len(at_U), dtype=bool)
    closed_U = bars.closed_T[place_U[on_U]]
    next_U = np.append(at_U, np.datetime64("9999-01-01", "us"))[on_U + 1]
    is_wrong_U[on_U[next_U < closed_U]] = True
    for first, stop in _runs(step_U):
        if step_U[first] > 1 and stop - first >= _REGULAR_RUN:
            # How long the last of a run is shows its own successor; of the file's last none does.
            is_wrong_U[on_U[first : stop + (stop == len(step_U))]] = True
    fault_T[np.isin(opened_T, at_U[is_wrong_U])] = "other_length"
    return fault_T


def _runs(step_U: NDArray[np.int64]) -> Sequence[tuple[int, int]]:
    """[first, stop) of the stretches of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(step_U)) + 1).tolist(), len(step_U)]
    return [(first, stop) for first, stop in pairwise(edges) if stop > first]


def _other_length(path: Path, asset: Asset, grid: Grid, usual: timedelta) -> str:
    named = next((name for name in bar_names() if Grid(bar=name).step == usual), None)
    where = f"{path.parent.name.rsplit('_', 1)[0]}_{named}/"
    what = f"{path}: its rows are mostly {usual} apart, where candles of {grid.bar} are read"
    if named is None:
        return f"{what}; replace it by candles of a length that a grid can have ({', '.join(bar_names())})"
    if usual < grid.step:
        return f"{what}; move it to {where} and set feed.interval: {named} to have bars of {grid.bar} put together from it"
    return f"{what}; shorter candles cannot be made of them: move it to {where} and set grid.bar: {named}, or replace it"


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(str(name) or "an index" for name in table.columns)
