"""A folder of candles as a feed: one Parquet or CSV file a symbol.

    <folder>/bybit_1h/BTCUSDT.parquet          linear, the venue's default category; candles of one hour
    <folder>/bybit_5m/BTCUSDT.parquet          of five minutes: the length that the experiment reads is in the name
    <folder>/bybit_spot_1h/BTCUSDT.csv         another category
    <folder>/yahoo_1h/AAPL.parquet
    <folder>/bybit_funding/BTCUSDT.parquet     optional: funding rates
    <folder>/yahoo_dividends/AAPL.parquet      optional: dividends

A candle file has the columns ``timestamp`` (or ``opened_at``: when the candle opened, as ISO 8601 or as a count of
s, ms, us or ns since 1970; without a zone it means UTC), ``open``,
``high``, ``low``, ``close``, ``volume`` (base units) and optionally ``turnover`` (quote currency). A funding file has
``timestamp`` (or ``settled_at``) and ``funding_rate`` (or ``rate``). A dividend file has ``timestamp`` (or ``ex_date``:
the day, or any instant of it, UTC) and ``amount`` (quote currency a share, on the scale of the prices; one row an ex-date);
leave it out where prices are adjusted for dividends already. When a candle closed follows from the venue's
calendar: its length later, and at the bell for the last of a session. A daily candle of an exchange has the session's date
(midnight) or opening bell as its timestamp and runs from bell to bell. Rows are handed on as they are; the ingest
refuses what breaks a rule.
"""

import difflib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import KEYS, PRICE_COLUMNS, Feed, empty_rows, known_rows
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.days import to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import Experiment
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.trading_calendar import closing_times, opening_bells, session_days
from crossattn_core.universe import VENUES, Asset, Kind

__all__ = ["FilesFeed"]

_SUFFIXES = (".parquet", ".csv")


@FEEDS.register("files")
def open_files(experiment: Experiment, clock: Callable[[], datetime]) -> Feed:
    """The folder that ``feed.folder`` names; an empty name is refused."""
    folder = experiment.feed.folder
    if not folder:
        raise ExperimentError("feed.folder is empty; feed.kind 'files' needs the root folder of the candle files")
    return FilesFeed(Path(folder), clock, experiment.candle_grid)


class FilesFeed(Feed):
    """Candles from the files under ``folder``.

    Args:
        folder: root of the files, laid out as the module describes.
        clock: aware UTC; a candle that closes after it is still forming.
        grid: the candles are one bar of it long.
    """

    kind = "files"
    gap_attempts = 1000  # someone may complete the file, and looking costs next to nothing

    def __init__(self, folder: Path, clock: Callable[[], datetime], grid: Grid = HOURLY) -> None:
        super().__init__()
        self._folder, self._clock, self._grid = folder, clock, grid
        self._read: dict[Path, tuple[int, pd.DataFrame]] = {}

    def now(self) -> datetime:
        """The injected clock: a folder has none of its own."""
        return self._clock()

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """A file is read whole; what is stored at once is at most a million candles."""
        return 1_000_000 // self._grid.bars_per_day

    def origin(self, asset: Asset) -> dict[str, object]:
        """Where the files lie."""
        return {"folder": str(self._folder)}

    def listed(self, asset: Asset) -> datetime | None:
        """When the asset's first candle in the file opened."""
        rows = self._candle_rows(asset)
        return rows["opened_at"].min().to_pydatetime() if len(rows) else None

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Candles with closed_at in (start, end] that are closed by the clock, as they are in the file."""
        self.traffic.count_request()
        return known_rows("candles", self._candle_rows(asset), asset, start, end, to_naive(self._clock()))

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements in (start, end]; none when there is no file for the asset: the ledger counts what is missing."""
        rows = self._payments("funding", asset, ("settled_at", "timestamp"), ("rate", "funding_rate"))
        return known_rows("funding", rows, asset, start, end, to_naive(self._clock()))

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end]; none when there is no file for the asset."""
        rows = self._payments("dividends", asset, ("ex_date", "timestamp"), ("amount",))
        rows = rows.assign(ex_at=opening_bells(asset.calendar, rows["ex_at"].to_numpy()))
        return known_rows("dividends", rows, asset, start, end, to_naive(self._clock()))

    def _payments(self, kind: Kind, asset: Asset, times: tuple[str, ...], values: tuple[str, ...]) -> pd.DataFrame:
        """Instants and amounts of a payment file, by the columns of ``kind``; ``times`` and ``values`` are the file's names."""
        self.traffic.count_request()
        path = _file_of(self._folder / f"{_prefix(asset)}_{kind}", asset.symbol) if kind in asset.series else None
        if path is None:
            return empty_rows(kind)

        def read(path: Path) -> pd.DataFrame:
            table = _table(path)
            paid = pd.to_numeric(table[_column(path, table, *values)], errors="coerce").astype(float)
            return pd.DataFrame({KEYS[kind]: _instants(path, table, *times), "amount" if kind == "dividends" else "rate": paid})

        return self._cached(path, read)

    def _candle_rows(self, asset: Asset) -> pd.DataFrame:
        if not self._folder.is_dir():
            raise PermanentFeedError(
                f"{self._folder}: no such folder; feed.folder must name the root of the candle files "
                f"(<venue>_{self._grid.bar}/<SYMBOL>.parquet or .csv), or set feed.kind to 'simulated'"
            )
        folder = self._folder / f"{_prefix(asset)}_{self._grid.bar}"
        path = _file_of(folder, asset.symbol)
        if path is None:
            raise PermanentFeedError(_absent(folder, asset))
        rows = self._cached(path, _candle_rows)
        stamp_T = rows["opened_at"].to_numpy()
        if self._grid.bar == "1d":
            opened_T, closed_T = session_days(asset.calendar, stamp_T)
            return rows.assign(opened_at=opened_T, closed_at=closed_T)
        return rows.assign(closed_at=closing_times(asset.calendar, stamp_T, self._grid.step))

    def _cached(self, path: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
        changed = path.stat().st_mtime_ns
        held = self._read.get(path)
        if held is None or held[0] != changed:
            held = (changed, read(path))
            self._read[path] = held
        return held[1]


def _prefix(asset: Asset) -> str:
    """Folder name of the asset's venue, with the category where it is not the venue's default."""
    is_default = asset.category == VENUES.get(asset.venue).default_category
    return asset.venue if is_default else f"{asset.venue}_{asset.category}"


def _file_of(folder: Path, symbol: str) -> Path | None:
    return next((path for suffix in _SUFFIXES if (path := folder / f"{symbol}{suffix}").is_file()), None)


def _absent(folder: Path, asset: Asset) -> str:
    if not folder.is_dir():
        return (
            f"{folder}: no such folder, so there are no candles of {asset.asset_id}; put {asset.symbol}.parquet or "
            f"{asset.symbol}.csv there, or drop the symbol"
        )
    present = sorted({path.stem for path in folder.iterdir() if path.suffix in _SUFFIXES})
    near = difflib.get_close_matches(asset.symbol, present, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]}? Present: {', '.join(present)}. " if near else "the folder holds no candle file. "
    return f"{folder}: no file for {asset.symbol}; {hint}Add {asset.symbol}.parquet or drop the symbol"


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise PermanentFeedError(f"{path}: cannot be read as {path.suffix[1:]} ({error}); replace the file") from error


def _candle_rows(path: Path) -> pd.DataFrame:
    table = _table(path)
    opened = _instants(path, table, "opened_at", "timestamp")
    missing = [name for name in (*PRICE_COLUMNS, "volume") if name not in table]
    if missing:
        raise PermanentFeedError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    rows = pd.DataFrame({"opened_at": opened})
    for name in (*PRICE_COLUMNS, "volume", "turnover"):
        rows[name] = pd.to_numeric(table[name], errors="coerce").astype(float) if name in table else np.nan
    return rows


def _epoch_unit(counts: pd.Series) -> Literal["s", "ms", "us", "ns"]:
    """The unit of instants since 1970, recognised by size: each is good for the years 1973 to 5138."""
    largest = counts.abs().max()
    return "s" if largest < 1e11 else "ms" if largest < 1e14 else "us" if largest < 1e17 else "ns"


def _column(path: Path, table: pd.DataFrame, *names: str) -> str:
    """The first of ``names`` that the file has."""
    name = next((name for name in names if name in table), None)
    if name is None:
        raise PermanentFeedError(f"{path}: no column {' or '.join(names)}; it has {', '.join(map(str, table.columns))}")
    return name


def _instants(path: Path, table: pd.DataFrame, *names: str) -> np.ndarray:
    name = _column(path, table, *names)
    try:
        unit = _epoch_unit(table[name]) if pd.api.types.is_numeric_dtype(table[name]) else None
        moments = pd.to_datetime(table[name], utc=True, unit=unit)
    except (ValueError, TypeError) as error:
        raise PermanentFeedError(f"{path}: column {name} holds no instants ({error}); use ISO 8601 in UTC") from error
    return moments.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
