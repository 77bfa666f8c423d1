"""From a user's files to the folder that the ``files`` feed reads: what was understood first, the writing second.

Files of one asset and bar become one file. What has no instant, or was still forming when its file was written, is left out and
counted; everything else is written as it lies, and judged beforehand by the feed and the rules that will judge it at every fetch.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.candles.feeds.feed import PRICE_COLUMNS
from crossattn_core.candles.feeds.files import FilesFeed, folder_of
from crossattn_core.candles.importing.asset_rows import COLUMNS, AssetRows, ImportSettings, rows_by_asset
from crossattn_core.candles.importing.source_file import SUFFIXES, open_source
from crossattn_core.candles.quality import validate_candles
from crossattn_core.days import to_naive
from crossattn_core.errors import CandleError
from crossattn_core.grid import BarName, Grid, bar_names
from crossattn_core.storage import write_parquet
from crossattn_core.trading_calendar import closing_times, session_days
from crossattn_core.universe import Asset

__all__ = ["ImportSettings", "Understood", "understand", "write_understood"]

_SAME = ["timestamp", *PRICE_COLUMNS, "volume"]


@dataclass(frozen=True)
class Understood:
    """The candles of one asset and bar, and the file that they become."""

    asset: Asset
    bar: BarName
    sources: tuple[str, ...]
    layouts: tuple[str, ...]
    units: tuple[str, ...]
    zones: tuple[str, ...]
    candles: pd.DataFrame
    """``COLUMNS``, in time order, together with what the folder held; ``timestamp`` is when the candle opened, naive UTC."""
    read: int
    """Rows of the sources."""
    left_out: dict[str, int]
    """Rows that are not written, by reason."""
    refused: dict[str, int]
    """Rows that are written and that every fetch will refuse, by rule."""
    held: int
    """Candles that the folder had."""
    target: Path


def understand(
    paths: Sequence[Path], into: Path, settings: ImportSettings, clock: Callable[[], datetime]
) -> tuple[Understood, ...]:
    """What the files hold, asset by asset; nothing is written.

    Args:
        paths: files, or folders of them.
        into: the folder that ``feed.folder`` will name.
        clock: aware UTC.

    Raises:
        CandleError: a file has no layout that is known, or its symbol, venue or bar cannot be told; says which columns there
            are and what to add.
    """
    parts = [part for path in _files(paths) for source in open_source(path) for part in rows_by_asset(source, settings)]
    by_asset: dict[tuple[str, BarName], list[AssetRows]] = {}
    bar_of = _bars(parts, settings.bar)
    for place, part in enumerate(parts):
        by_asset.setdefault((part.asset.asset_id, bar_of[place]), []).append(part)
    return tuple(_understood(own, bar, into, settings, clock) for (_, bar), own in by_asset.items())


def write_understood(found: Sequence[Understood]) -> None:
    """Write each asset's file, whole or not at all."""
    for one in found:
        write_parquet(one.target, pa.Table.from_pandas(one.candles, preserve_index=False))


def _files(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise CandleError(f"{path}: holds no file ending in {', '.join(SUFFIXES)}")
        found += inside
    return found


def _bars(parts: Sequence[AssetRows], given: str) -> list[BarName]:
    """The bar of each part by the spacing of its rows; of single rows by that of all the asset's."""
    if given and given not in bar_names():
        raise CandleError(f"--bar {given}: no grid has it; choose from {', '.join(bar_names())}")
    bars = []
    for part in parts:
        step = _spacing(part.rows["timestamp"].to_numpy())
        if step is None:
            together = [one.rows["timestamp"].to_numpy() for one in parts if one.asset == part.asset]
            step = _spacing(np.concatenate(together))
        named = next((bar for bar in bar_names() if step is not None and Grid(bar=bar).step_us == step), None)
        if named is None and (step is not None or not given):
            apart = "has a single row" if step is None else f"its rows are mostly {step.item()} apart"
            raise CandleError(f"{part.source.path}: {apart}; candles of {', '.join(bar_names())} can be read (see --bar)")
        if given and named is not None and named != given:
            raise CandleError(
                f"{part.source.path}: its rows are mostly {named} apart, and --bar says {given}; import them as {named}"
            )
        bars.append(named or given)
    return bars


def _spacing(opened_T: np.ndarray) -> np.timedelta64 | None:
    """The most frequent distance between neighbours in time, the shortest of equals."""
    length, count = np.unique(np.diff(np.unique(opened_T)), return_counts=True)
    return length[count.argmax()] if len(length) else None


def _understood(
    parts: Sequence[AssetRows], bar: BarName, into: Path, settings: ImportSettings, clock: Callable[[], datetime]
) -> Understood:
    asset, left_out = parts[0].asset, Counter[str]()
    folder = folder_of(asset, bar)
    target = into / folder / f"{asset.symbol}.parquet"
    tables = []
    for part in parts:
        is_forming_T = _forming(part, bar, to_naive(clock()))
        left_out["no time"] += part.undated
        left_out["still forming"] += int(is_forming_T.sum())
        tables.append(part.rows[~is_forming_T])
    rows = pd.concat(tables, ignore_index=True)
    is_repeat_T = rows.duplicated(_SAME).to_numpy()
    left_out["repeated"] += int(is_repeat_T.sum())
    rows = rows[~is_repeat_T].sort_values("timestamp", kind="stable", ignore_index=True)
    held = _held(target)
    rows = _with_held(rows, held, target, settings.replace)
    refused = _judged(rows, asset, bar, folder, clock) if len(rows) else {}
    return Understood(
        asset=asset,
        bar=bar,
        sources=tuple(dict.fromkeys(str(part.source.path) for part in parts)),
        layouts=tuple(dict.fromkeys(part.layout for part in parts)),
        units=tuple(dict.fromkeys(part.unit for part in parts)),
        zones=tuple(dict.fromkeys(part.zone for part in parts)),
        candles=rows,
        read=sum(len(part.rows) + part.undated for part in parts),
        left_out={why: count for why, count in left_out.items() if count},
        refused=refused,
        held=len(held),
        target=target,
    )


def _forming(part: AssetRows, bar: BarName, now: datetime) -> np.ndarray:
    """Which rows close after their file was written, or after now."""
    opened_T, step = part.rows["timestamp"].to_numpy(), Grid(bar=bar).step
    if bar == "1d":
        closed_T = session_days(part.asset.calendar, opened_T)[1]
    else:
        closed_T = closing_times(part.asset.calendar, opened_T, step)
    written_at = part.source.written_at
    # A file cannot be older than what it holds: then its time was lost on the way.
    by = min(now, written_at) if len(opened_T) and written_at > opened_T.min() else now
    return closed_T > np.datetime64(by, "us")


def _held(target: Path) -> pd.DataFrame:
    plain = target.with_suffix(".csv")
    if plain.is_file():
        raise CandleError(f"{plain}: is there already, and a Parquet file beside it would hide it; import it too and remove it")
    if not target.is_file():
        return pd.DataFrame({name: pd.Series(dtype="datetime64[us]" if name == "timestamp" else float) for name in COLUMNS})
    held = pd.read_parquet(target)
    if set(COLUMNS) - {"turnover"} - set(held.columns):
        raise CandleError(
            f"{target}: is there already and has the columns {', '.join(held.columns)}; move it or choose another --into"
        )
    return held.assign(turnover=held.get("turnover", np.nan))[list(COLUMNS)]


def _with_held(rows: pd.DataFrame, held: pd.DataFrame, target: Path, replace: bool) -> pd.DataFrame:
    """The new rows and the folder's; of those that are the same one, of those that differ the new one where the user says so."""
    if not len(held):
        return rows
    both = rows.merge(held, on="timestamp", suffixes=("", "_held"))
    pairs = [(both[name], both[f"{name}_held"]) for name in _SAME[1:]]
    differs_T = np.any([(new != old) & ~(new.isna() & old.isna()) for new, old in pairs], axis=0)
    if differs_T.any() and not replace:
        first = both[differs_T].iloc[0]
        raise CandleError(
            f"{target}: holds other values for {int(differs_T.sum())} of these candles (the first opens {first['timestamp']}: "
            f"close {first['close_held']:g} there, {first['close']:g} here); add --replace to take the new ones"
        )
    kept = held[~held["timestamp"].isin(rows["timestamp"])]
    return pd.concat([rows, kept], ignore_index=True).sort_values("timestamp", kind="stable", ignore_index=True)


def _judged(rows: pd.DataFrame, asset: Asset, bar: BarName, folder: str, clock: Callable[[], datetime]) -> dict[str, int]:
    """Rule -> how many of the rows every fetch would refuse, by the feed and the rules of a fetch."""
    with tempfile.TemporaryDirectory() as root:
        write_parquet(Path(root) / folder / f"{asset.symbol}.parquet", pa.Table.from_pandas(rows, preserve_index=False))
        grid, now = Grid(bar=bar), to_naive(clock())
        read = FilesFeed(Path(root), clock, grid).candles(asset, datetime(1970, 1, 1), now)
        return dict(Counter(validate_candles(read, asset, now, interval=grid.step).refused["reason"]))
