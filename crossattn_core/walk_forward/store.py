"""What the walk-forward keeps of each day, on disk.

    walk_forward/plan/<day>.json             decision, model in force by family, state handed to the next day, hashes
    walk_forward/predictions/<day>.parquet   what the models in force predict, see predictions.py
    walk_forward/events.json                 dated overrides, see overrides.py

Every file is written atomically; the plan of a day is written last and makes the day count.
"""

import shutil
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.home import Home
from crossattn_core.panel.schemas import check_table
from crossattn_core.storage import read_json, read_parquet, sha256_of, write_bytes, write_json
from crossattn_core.walk_forward.predictions import PREDICTION_SCHEMA, Kind, Predicted, as_forecasts, prediction_rows

__all__ = [
    "PLAN_COLUMNS",
    "forget_after",
    "linked_days",
    "plan_frame",
    "plan_path",
    "predictions_hash",
    "predictions_of",
    "predictions_path",
    "read_day",
    "read_forecasts",
    "read_plan",
    "read_predictions",
    "write_day",
    "write_predictions",
]

PLAN_COLUMNS = (
    "day",
    "action",
    "reason",
    "why",
    "family",
    "model_id",
    "parent_id",
    "trained_id",
    "healthy",
    "health",
    "regime",
    "window_id",
    "train_start",
    "cut_off",
    "rows",
    "validation_loss",
    "drift",
    "ic_gap",
)
"""Grain: (day, family). ``model_id`` is in force (empty: none); ``trained_id`` was fitted on this day (empty: none);
``train_start``, ``cut_off``, ``rows`` and ``validation_loss`` describe the model in force."""

_PLAN_KEYS = ("day", "previous_hash", "plan_hash", "rows", "state")
_AGAIN = "delete it, and 'crossattn run' steps the day again"

_FORMER_FOLDERS = ("forecasts", "wanted")
"""Where an earlier layout kept predictions; its days are stepped again."""


def predictions_path(home: Home, day: date) -> Path:
    """File of the predictions of ``day``."""
    return home.walk_forward / "predictions" / f"{day}.parquet"


def write_predictions(
    home: Home,
    day: date,
    as_of_R: NDArray[np.datetime64],
    asset_ids: tuple[str, ...],
    predicted_by_family: Mapping[str, Predicted],
    model_by_family: Mapping[str, str],
) -> int:
    """Store a day's predictions; returns how many there are.

    Raises:
        BrokenContractError: a value is no return or no weight, or is there twice; what was stored for the day stays.
    """
    tables = [
        prediction_rows(predicted, as_of_R, asset_ids, family, model_by_family[family])
        for family, predicted in predicted_by_family.items()
    ]
    table = pa.concat_tables([PREDICTION_SCHEMA.empty_table(), *tables]).combine_chunks()
    if table.num_rows:
        check_table("predictions", table.to_pandas())
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(predictions_path(home, day), sink.getvalue().to_pybytes())
    return table.num_rows


def predictions_hash(home: Home, day: date) -> str:
    """Hash of the stored file; empty when there is none."""
    try:
        return sha256_of(predictions_path(home, day).read_bytes())
    except FileNotFoundError:
        return ""


def read_predictions(home: Home, first: date, last: date, kind: Kind | None = None) -> pd.DataFrame:
    """Stored predictions of the days first..last (``PREDICTION_COLUMNS``), days ascending.

    Days without a file are left out: the walk makes it when it steps them again.

    Args:
        kind: 'return' or 'weight' alone; none for both.
    """
    days = (date.fromisoformat(record["day"]) for record in linked_days(home))
    return predictions_of(home, [day for day in days if first <= day <= last], kind)


def predictions_of(home: Home, days: Iterable[date], kind: Kind | None = None) -> pd.DataFrame:
    """Stored predictions of ``days`` as ``read_predictions`` gives them, whatever their plan was made from."""
    paths = (predictions_path(home, day) for day in days)
    tables = [_stored_table(*_identity(path)) for path in paths if path.is_file()]
    table = pa.concat_tables([PREDICTION_SCHEMA.empty_table(), *tables])
    return (table if kind is None else table.filter(pc.field("kind") == kind)).to_pandas()


def read_forecasts(home: Home, first: date, last: date) -> pd.DataFrame:
    """Stored forecasts of the days first..last (``FORECAST_COLUMNS``), days ascending: the predictions of kind 'return'."""
    return as_forecasts(read_predictions(home, first, last, "return"))


def plan_path(home: Home, day: date) -> Path:
    """File of the plan of ``day``."""
    return home.walk_forward / "plan" / f"{day}.json"


def write_day(home: Home, day: date, record: dict[str, Any]) -> None:
    """Store a day's plan; from here on the day counts."""
    write_json(plan_path(home, day), record)


def read_day(home: Home, day: date) -> dict[str, Any] | None:
    """A day's plan as stored, or none.

    Raises:
        HomeError: the file is damaged.
    """
    try:
        return read_json(plan_path(home, day), _AGAIN, _PLAN_KEYS)
    except FileNotFoundError:
        return None


def forget_after(home: Home, day: date) -> int:
    """Remove what is stored of the days after ``day``: plans first, then what rests on them; returns how many plans.

    Called when a day comes out otherwise than it was stored: the days after it were made from what no longer is.
    """
    attention = (home.attention, *(home.attention / name for name in ("next_bar", "evidence", "agreement")))
    gone = 0
    for folder in (home.walk_forward / "plan", home.walk_forward / "predictions", *attention):
        for path in folder.glob("????-??-??.*") if folder.is_dir() else []:
            if path.stem > day.isoformat():
                path.unlink(missing_ok=True)
                gone += path.suffix == ".json"
    for name in _FORMER_FOLDERS:
        shutil.rmtree(home.walk_forward / name, ignore_errors=True)
    return gone


def linked_days(home: Home) -> list[dict[str, Any]]:
    """The stored plans from the first day on, as far as each was made from the one before it.

    Days that an earlier experiment or an earlier history left behind are not among them.
    """
    folder = home.walk_forward / "plan"
    records: list[dict[str, Any]] = []
    for path in sorted(folder.glob("????-??-??.json")) if folder.is_dir() else []:
        record = read_day(home, date.fromisoformat(path.stem))
        if record is None or record["previous_hash"] != (records[-1]["plan_hash"] if records else ""):
            break
        records.append(record)
    return records


def plan_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of the plan with their types (``PLAN_COLUMNS``): instants naive UTC, NaT and NaN where nothing is in force."""
    plan = pd.DataFrame(rows, columns=list(PLAN_COLUMNS))
    for column in ("day", "train_start", "cut_off"):
        plan[column] = pd.to_datetime(plan[column], format="ISO8601").astype("datetime64[us]")
    for column in ("validation_loss", "drift", "ic_gap"):
        plan[column] = plan[column].astype("float64")
    return plan


def read_plan(home: Home, first: date | None = None, last: date | None = None) -> pd.DataFrame:
    """The plan, one row a day and family (``PLAN_COLUMNS``), days ascending; empty where nothing was stepped."""
    earliest, latest = (first or date.min).isoformat(), (last or date.max).isoformat()
    return plan_frame([row for record in linked_days(home) if earliest <= record["day"] <= latest for row in record["rows"]])


def _identity(path: Path) -> tuple[Path, int, int, int]:
    """What names a file's content without reading it: files are only ever replaced whole."""
    stat = path.stat()
    return path, stat.st_ino, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=4096)
def _stored_table(path: Path, _inode: int, _modified: int, _size: int) -> pa.Table:
    # A run reads all days a dozen times over; tables are immutable, so one reading serves all.
    return read_parquet(path, _AGAIN)
