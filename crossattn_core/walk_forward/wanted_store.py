"""What families whose head gives weights want to hold at each row, on disk; and every stored answer, of whichever kind.

    walk_forward/wanted/<day>.parquet      as_of, asset_id, family, weight (share of equity), model_id

A day without such a family has no file. The file lies beside the day's forecasts and counts in the same hash.

Axes: R rows of a day, N assets.
"""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.home import Home
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import sha256_of, write_bytes
from crossattn_core.walk_forward.store import forecast_file_hash, linked_days, read_forecasts

__all__ = ["WANTED_COLUMNS", "answers_hash", "read_answers", "read_wanted", "write_wanted"]

WANTED_COLUMNS = ("as_of", "asset_id", "family", "weight", "model_id")
"""Grain: (as_of, asset_id, family). ``weight`` is a share of equity before limits; an unreadable asset has no row."""

_SCHEMA = pa.schema(
    [
        ("as_of", pa.timestamp("us")),
        ("asset_id", pa.string()),
        ("family", pa.string()),
        ("weight", pa.float32()),
        ("model_id", pa.string()),
    ]
)


def write_wanted(
    home: Home,
    day: date,
    as_of_R: NDArray[np.datetime64],
    asset_ids: tuple[str, ...],
    weight_by_family_RN: dict[str, NDArray[np.float32]],
    model_by_family: dict[str, str],
) -> int:
    """Store a day's wanted weights; returns how many there are. Without any family of that kind nothing is stored."""
    path = _path(home, day)
    if not weight_by_family_RN:
        path.unlink(missing_ok=True)
        return 0
    tables = []
    for family, weight_RN in weight_by_family_RN.items():
        row_K, asset_K = np.nonzero(np.isfinite(weight_RN))
        columns = (
            as_of_R[row_K],
            np.array(asset_ids)[asset_K],
            np.full(len(row_K), family),
            weight_RN[row_K, asset_K],
            np.full(len(row_K), model_by_family[family]),
        )
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        tables.append(pa.Table.from_arrays(arrays, schema=_SCHEMA))
    table = pa.concat_tables(tables).combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())
    return table.num_rows


def answers_hash(home: Home, day: date) -> str:
    """Hash of what is stored of a day: its forecasts, and its wanted weights where there are any."""
    forecasts = forecast_file_hash(home, day)
    path = _path(home, day)
    return combined_hash(forecasts, sha256_of(path.read_bytes())) if path.is_file() else forecasts


def read_wanted(home: Home, first: date, last: date) -> pd.DataFrame:
    """Stored wanted weights of the days first..last (``WANTED_COLUMNS``), ascending."""
    days = (date.fromisoformat(record["day"]) for record in linked_days(home))
    paths = [_path(home, day) for day in days if first <= day <= last]
    tables = [pq.ParquetFile(path).read() for path in paths if path.is_file()]
    return pa.concat_tables([_SCHEMA.empty_table(), *tables]).to_pandas()


def read_answers(home: Home, first: date, last: date, *, weight_horizon: int) -> pd.DataFrame:
    """Forecasts and wanted weights of the days first..last in one frame: ``FORECAST_COLUMNS`` and 'gives'.

    Where 'gives' is 'weight' the column 'forecast' holds the weight, and 'horizon' is ``weight_horizon``: the return
    that the weight was made for.
    """
    forecasts = read_forecasts(home, first, last).assign(gives="return")
    wanted = read_wanted(home, first, last).rename(columns={"weight": "forecast"})
    if wanted.empty:
        return forecasts
    wanted = wanted.assign(horizon=np.int32(weight_horizon), gives="weight")[list(forecasts.columns)]
    return pd.concat([forecasts, wanted], ignore_index=True)


def _path(home: Home, day: date) -> Path:
    return home.walk_forward / "wanted" / f"{day}.parquet"
