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
(midnight) or opening bell as its timestamp and runs from bell to bell.

What a file holds is decided by its rows: their place (not an index that was written beside them; a time index is read as the
time), their spacing (candles of another length are refused), the unit of each count, and a column ``symbol`` where there is one.
A candle that closes after the file was written was still forming then and is left for the next one. A file that changed is read
again as a whole: what differs is noted as a revision. Rows are handed on as they are; the ingest refuses what breaks a rule.
"""

import difflib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas as pd

from crossattn_core.candles.feeds.candle_file import (
    SUFFIXES,
    FileRows,
    read_candles,
    read_payments,
    spacing_faults,
)
from crossattn_core.candles.feeds.feed import KEYS, Feed, empty_rows, known_rows
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.days import bounds, to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import Experiment
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.trading_calendar import closing_times, opening_bells, session_days
from crossattn_core.universe import VENUES, Asset, Kind

__all__ = ["FilesFeed", "folder_of"]

_PAYMENTS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "funding": (("settled_at", "timestamp"), ("rate", "funding_rate"), "rate"),
    "dividends": (("ex_date", "timestamp"), ("amount",), "amount"),
}
"""Kind -> the file's names of the instant, of the value, and ours of the value."""


@FEEDS.register("files")
def open_files(experiment: Experiment, clock: Callable[[], datetime]) -> Feed:
    """The folder that ``feed.folder`` names; an empty name is refused."""
    folder = experiment.feed.folder
    if not folder:
        raise ExperimentError("feed.folder is empty; feed.kind 'files' needs the root folder of the candle files")
    return FilesFeed(Path(folder), clock, experiment.candle_grid)


def folder_of(asset: Asset, series: str) -> str:
    """Name of the folder that holds an asset's files of ``series``: a bar, 'funding' or 'dividends'."""
    is_default = asset.category == VENUES.get(asset.venue).default_category
    return f"{asset.venue}_{series}" if is_default else f"{asset.venue}_{asset.category}_{series}"


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
        self._read: dict[tuple[Path, str], tuple[str, FileRows]] = {}

    def now(self) -> datetime:
        """The injected clock: a folder has none of its own."""
        return self._clock()

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """A file is read whole; what is stored at once is at most a million candles."""
        return 1_000_000 // self._grid.bars_per_day

    def origin(self, asset: Asset) -> dict[str, object]:
        """Where the files lie."""
        return {"folder": str(self._folder)}

    def version(self, asset: Asset, kind: Kind = "candles") -> str | None:
        """Size and time of the file; none where there is none."""
        path = self._path(asset, kind)
        return None if path is None else _version(path)

    def absent(self, asset: Asset) -> str:
        """What is not where the asset's file should be: the root, the folder or the file itself; '' where it is there."""
        if self._path(asset, "candles") is not None:
            return ""
        if not self._folder.is_dir():
            return (
                f"{self._folder}: no such folder; feed.folder must name the root of the candle files "
                f"(<venue>_{self._grid.bar}/<SYMBOL>.parquet or .csv), or set feed.kind to 'simulated'"
            )
        folder = self._folder / folder_of(asset, self._grid.bar)
        if not folder.is_dir():
            return (
                f"{folder}: no such folder, so there are no candles of {asset.asset_id}; put {asset.symbol}.parquet or "
                f"{asset.symbol}.csv there, or drop the symbol"
            )
        present = sorted({path.stem for path in folder.iterdir() if path.suffix in SUFFIXES})
        near = difflib.get_close_matches(asset.symbol, present, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]}? Present: {', '.join(present)}. " if near else "the folder holds no candle file. "
        return f"{folder}: no file for {asset.symbol}; {hint}Add {asset.symbol}.parquet or drop the symbol"

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Candles with closed_at in (start, end] that are closed by the clock, as they are in the file."""
        self.traffic.count_request()
        path = self._path(asset, "candles")
        if path is None:
            raise PermanentFeedError(self.absent(asset))
        return self._known("candles", self._cached(path, asset, self._candle_rows), asset, start, end)

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements in (start, end]; none when there is no file for the asset: the ledger counts what is missing."""
        return self._payments("funding", asset, start, end)

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end]; none when there is no file for the asset."""
        return self._payments("dividends", asset, start, end)

    def _payments(self, kind: Kind, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        self.traffic.count_request()
        path = self._path(asset, kind) if kind in asset.series else None
        if path is None:
            return empty_rows(kind)

        def read(path: Path, asset: Asset) -> FileRows:
            times, values, name = _PAYMENTS[kind]
            held = read_payments(path, asset, KEYS[kind], times, values, name, _since(asset))
            if kind == "funding":
                return held
            ex_at = opening_bells(asset.calendar, held.rows["ex_at"].to_numpy())
            return FileRows(held.rows.assign(ex_at=ex_at), held.written_at)

        return self._known(kind, self._cached(path, asset, read), asset, start, end)

    def _known(self, kind: Kind, held: FileRows, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        now = to_naive(self._clock())
        closed_by = end if held.written_at is None else min(end, held.written_at)
        return known_rows(kind, held.rows, asset, start, closed_by, now)

    def _candle_rows(self, path: Path, asset: Asset) -> FileRows:
        held = read_candles(path, asset, _since(asset))
        stamp_T = held.rows["opened_at"].to_numpy()
        if self._grid.bar == "1d":
            opened_T, closed_T = session_days(asset.calendar, stamp_T)
        else:
            opened_T, closed_T = stamp_T, closing_times(asset.calendar, stamp_T, self._grid.step)
        rows = held.rows.assign(opened_at=opened_T, closed_at=closed_T)
        is_placed_T = rows["fault"].to_numpy() == ""
        fault_T = spacing_faults(path, asset, self._grid, opened_T[is_placed_T])
        rows.loc[is_placed_T, "fault"] = fault_T
        return FileRows(rows, held.written_at)

    def _path(self, asset: Asset, kind: Kind) -> Path | None:
        folder = self._folder / folder_of(asset, self._grid.bar if kind == "candles" else kind)
        return next((path for suffix in SUFFIXES if (path := folder / f"{asset.symbol}{suffix}").is_file()), None)

    def _cached(self, path: Path, asset: Asset, read: Callable[[Path, Asset], FileRows]) -> FileRows:
        key, version = (path, asset.asset_id), _version(path)
        held = self._read.get(key)
        if held is None or held[0] != version:
            held = (version, read(path, asset))
            self._read[key] = held
        return held[1]


def _version(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def _since(asset: Asset) -> datetime:
    return bounds(VENUES.get(asset.venue).since)[0]
