"""The memory-mapped arrays of the panel: a cache of the daily Parquet that can always be made again.

    panel/cache/<key>/<n>/*.bin     one array each, row-major, days in order
    panel/cache/<key>/cache.json    which days, by chained hash, generation <n> holds; written last

A new day is appended: rows that a reader has mapped are never rewritten. Where history itself changed, a new
generation is written; those who hold the old one keep it until they let go.
Axes: T bars of the grid, N assets in universe order, F features in experiment order.
"""

import math
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crossattn_core.errors import ContractError, HistoryError, HomeError
from crossattn_core.experiment import Experiment
from crossattn_core.grid import HOURLY
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import FROM_BACKUP, locked, read_json, read_parquet, write_json

__all__ = ["PanelCache", "column_values", "day_path", "panel_columns", "panel_of", "read_day"]

_ARRAYS: dict[str, Any] = {
    "trade_price": np.float64,
    "mark_price": np.float64,
    "is_fresh": np.bool_,
    "age_hours": np.float32,
    "quote_volume": np.float64,
    "funding_rate": np.float64,
    "dividend": np.float64,
}
"""Column of ``features.panel_rows`` -> its type in the panel, where it is called ``<column>_TN``."""


class PanelCache:
    """The memory-mapped arrays of one universe and feature list."""

    def __init__(self, home: Home, experiment: Experiment) -> None:
        self._home = home
        self._experiment = experiment
        self._layout = _layout(experiment)
        self._folder = home.panel / "cache" / combined_hash(*experiment.asset_ids, "|", *experiment.features.names)
        if experiment.grid != HOURLY:
            self._folder = self._folder.with_name(f"{self._folder.name}_{experiment.grid.bar}")

    def hold(self, chain: list[str], days: list[date]) -> int:
        """Make sure that a generation holds exactly these days as its first ones; return it."""
        manifest = self._manifest()
        if manifest["chain"][: len(chain)] == chain:
            return manifest["generation"]
        with locked(self._folder / "cache.lock"):
            manifest = self._manifest()
            held = manifest["chain"]
            shared = 0
            while shared < min(len(held), len(chain)) and held[shared] == chain[shared]:
                shared += 1
            generation = manifest["generation"]
            if shared == len(held) and generation > 0:
                self._append(generation, shared, days[shared:])
            elif shared < len(chain):
                # History changed: mapped rows must not move under their readers.
                generation += 1
                self._copy(generation - 1, generation, shared)
                self._append(generation, shared, days[shared:])
            else:
                return generation
            write_json(self._folder / "cache.json", {"generation": generation, "chain": chain})
            for old in self._folder.iterdir():
                if old.is_dir() and old.name.isdigit() and int(old.name) < generation:
                    shutil.rmtree(old, ignore_errors=True)
        return generation

    def mapped(self, generation: int, days: list[date], content_hash: str) -> Panel:
        """The first ``days`` of a generation as read-only maps.

        Raises:
            HomeError: an array is shorter than that.
        """
        folder, rows = self._folder / str(generation), self._experiment.grid.bars_per_day * len(days)
        try:
            arrays = {
                name: np.memmap(folder / f"{name}.bin", dtype=dtype, mode="r", shape=(rows, *shape))
                for name, (dtype, shape) in self._layout.items()
            }
        except (ValueError, FileNotFoundError) as error:
            raise HomeError(f"{folder}: damaged ({error}); {self._made_again}") from error
        as_of_T = self._experiment.grid.rows(days[0], days[-1])
        as_of_T.setflags(write=False)
        return _panel(self._experiment, as_of_T, arrays, content_hash)

    @property
    def _made_again(self) -> str:
        return f"delete {self._folder}, a cache that the next command makes again"

    def _manifest(self) -> dict[str, Any]:
        path = self._folder / "cache.json"
        return read_json(path, self._made_again, ("generation", "chain")) if path.exists() else {"generation": 0, "chain": []}

    def _day_bytes(self) -> dict[str, int]:
        bars = self._experiment.grid.bars_per_day
        return {name: bars * np.dtype(dtype).itemsize * math.prod(shape) for name, (dtype, shape) in self._layout.items()}

    def _copy(self, source: int, target: int, days: int) -> None:
        folder = self._folder / str(target)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, day_bytes in self._day_bytes().items():
            (folder / f"{name}.bin").touch()
            if days:
                source_file = self._folder / str(source) / f"{name}.bin"
                np.memmap(source_file, dtype=np.uint8, mode="r", shape=(days * day_bytes,)).tofile(folder / f"{name}.bin")

    def _append(self, generation: int, held_days: int, days: list[date]) -> None:
        folder = self._folder / str(generation)
        streams = {name: (folder / f"{name}.bin").open("r+b") for name in self._day_bytes()}
        try:
            for name, day_bytes in self._day_bytes().items():
                # What a killed append left behind the manifest's rows was never mapped.
                streams[name].truncate(held_days * day_bytes)
                streams[name].seek(0, 2)
            for day in days:
                rows = read_day(self._home, self._experiment, day)
                for name, stream in streams.items():
                    stream.write(_array(self._experiment, rows, name).tobytes())
        finally:
            for stream in streams.values():
                stream.close()


def panel_columns(experiment: Experiment) -> list[str]:
    """The columns of ``features.panel_rows`` that the panel of this experiment is made of."""
    return list(dict.fromkeys(["as_of", "asset_id", *_ARRAYS, *experiment.features.names]))


def read_day(home: Home, experiment: Experiment, day: date) -> pa.Table:
    """The panel's columns of one stored day, a row a bar and asset of this universe, bar by bar.

    Raises:
        HistoryError: the file is gone.
        HomeError: it is damaged.
        ContractError: it lacks a column or an asset, or is a day of another grid.
    """
    path, assets, bars = day_path(home, day), experiment.asset_ids, experiment.grid.bars_per_day
    columns = panel_columns(experiment)
    try:
        rows = read_parquet(path, FROM_BACKUP, columns=columns)
    except FileNotFoundError as error:
        raise HistoryError(f"{path}: the index names this day, but its file is gone; export {day} again") from error
    absent = [name for name in columns if name not in rows.column_names]
    if absent:
        raise ContractError(f"{path}: holds no column {', '.join(absent)}; build the SQL models and export {day} again")
    held = rows["asset_id"].to_pylist()
    if held == list(assets) * bars:
        return rows
    return rows.take(pa.array(_places(held, assets, bars, path)))


def panel_of(experiment: Experiment, rows: pa.Table, as_of_T: NDArray[np.datetime64]) -> Panel:
    """Rows in order (bar by bar, assets in universe order) as a panel in memory; its content hash is empty."""
    arrays = {
        name: _array(experiment, rows, name).reshape(len(as_of_T), *shape) for name, (_, shape) in _layout(experiment).items()
    }
    return _panel(experiment, as_of_T, arrays, content_hash="")


def _layout(experiment: Experiment) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Array -> its type, and its shape at one bar."""
    assets, features = len(experiment.asset_ids), len(experiment.features.names)
    return {name: (dtype, (assets,)) for name, dtype in _ARRAYS.items()} | {"feature": (np.float32, (assets, features))}


def _array(experiment: Experiment, rows: pa.Table, name: str) -> NDArray[Any]:
    """One array of the rows; features side by side, NaN where nothing was fresh, whatever a column carries there."""
    if name != "feature":
        return column_values(rows, name).astype(_ARRAYS[name])
    feature = np.stack([column_values(rows, feature).astype(np.float32) for feature in experiment.features.names], axis=1)
    feature[~column_values(rows, "is_fresh")] = np.nan
    return feature


def _panel(experiment: Experiment, as_of_T: NDArray[np.datetime64], arrays: dict[str, Any], content_hash: str) -> Panel:
    return Panel(
        as_of_T=as_of_T,
        asset_ids=experiment.asset_ids,
        features=experiment.features.names,
        feature_TNF=arrays["feature"],
        **{f"{name}_TN": arrays[name] for name in _ARRAYS},
        content_hash=content_hash,
        grid=experiment.grid,
    )


def _places(held: list[str], assets: tuple[str, ...], bars: int, path: Path) -> list[int]:
    """Rows of this universe, bar by bar, in a file that holds a wider one."""
    assets_held, rest = divmod(len(held), bars)
    if rest or held != held[:assets_held] * bars:
        raise ContractError(f"{path}: holds {len(held)} rows, which are no day of {bars} bars; export this day again")
    at = {asset: place for place, asset in enumerate(held[:assets_held])}
    absent = [asset for asset in assets if asset not in at]
    if absent:
        raise ContractError(f"{path}: holds no {', '.join(absent)} (it holds {', '.join(at)}); export this day again")
    return [bar * assets_held + at[asset] for bar in range(bars) for asset in assets]


def day_path(home: Home, day: date) -> Path:
    """The daily Parquet of ``day``."""
    return home.panel / "days" / f"{day.isoformat()}.parquet"


def column_values(rows: pa.Table, name: str) -> NDArray[Any]:
    """A column as an array; nulls of numbers become NaN, instants datetime64[us]."""
    column = rows[name].combine_chunks()
    if pa.types.is_timestamp(column.type):
        return column.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    if pa.types.is_boolean(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.bool_)
    values = column.to_numpy(zero_copy_only=False)
    if column.null_count:
        values = values.copy()
        values[np.asarray(column.is_null())] = np.nan  # one NaN, whatever bits lay under the null
    return values
