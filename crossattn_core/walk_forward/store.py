"""What the walk-forward keeps of each day, on disk: plan, forecasts, events.

    walk_forward/plan/<day>.json           decision, model in force by family, state handed to the next day, hashes
    walk_forward/forecasts/<day>.parquet   as_of, asset_id, family, horizon, forecast (log return), model_id
    walk_forward/wanted/<day>.parquet      wanted weights of families that give weights (see wanted_store.py)
    walk_forward/events.json               dated events: forced retrains and rollbacks

Every file is written atomically; the plan of a day is written last and makes the day count.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.errors import HomeError
from crossattn_core.home import Home
from crossattn_core.panel.schemas import check_table
from crossattn_core.storage import sha256_of, write_bytes, write_json

__all__ = [
    "FORECAST_COLUMNS",
    "PLAN_COLUMNS",
    "Event",
    "forecast_array",
    "forecast_file_hash",
    "forecast_path",
    "forget_after",
    "linked_days",
    "plan_frame",
    "read_day",
    "read_events",
    "read_forecasts",
    "read_plan",
    "record_event",
    "write_day",
    "write_forecasts",
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

FORECAST_COLUMNS = ("as_of", "asset_id", "family", "horizon", "forecast", "model_id")
"""Grain: (as_of, asset_id, family, horizon). ``forecast`` is a log return over the horizon; an unreadable asset has no row."""

_FORECAST_SCHEMA = pa.schema(
    [
        ("as_of", pa.timestamp("us")),
        ("asset_id", pa.string()),
        ("family", pa.string()),
        ("horizon", pa.int32()),
        ("forecast", pa.float32()),
        ("model_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Event:
    """Something that a person asked for, effective from a day on; replayed by every walk over that day."""

    day: date
    kind: Literal["forced", "rollback"]
    note: str
    family: str = ""
    """'rollback': the family that goes back; empty for all."""
    model_id: str = ""
    """'rollback': the model to serve; empty for the one before the model in force."""


def read_events(home: Home) -> list[Event]:
    """All events, in the order in which they were recorded."""
    path = home.walk_forward / "events.json"
    if not path.exists():
        return []
    return [Event(**(row | {"day": date.fromisoformat(row["day"])})) for row in json.loads(path.read_text(encoding="utf-8"))]


def record_event(home: Home, event: Event) -> list[Event]:
    """Append an event (the same one twice counts once); returns all events."""
    events = read_events(home)
    if event not in events:
        events.append(event)
        write_json(home.walk_forward / "events.json", [asdict(row) | {"day": row.day.isoformat()} for row in events])
    return events


def forecast_path(home: Home, day: date) -> Path:
    """Where the forecasts of ``day`` lie."""
    return home.walk_forward / "forecasts" / f"{day}.parquet"


def write_forecasts(
    home: Home,
    day: date,
    as_of_R: NDArray[np.datetime64],
    asset_ids: tuple[str, ...],
    horizons: tuple[int, ...],
    forecast_by_family_RNH: dict[str, NDArray[np.float32]],
    model_by_family: dict[str, str],
) -> tuple[int, str]:
    """Store a day's forecasts; returns how many there are and the hash of the file.

    Raises:
        BrokenContractError: a forecast is no return, or stands twice; what was stored for the day stays.
    """
    tables = [_FORECAST_SCHEMA.empty_table()]
    for family, forecast_RNH in forecast_by_family_RNH.items():
        row_K, asset_K, horizon_K = np.nonzero(np.isfinite(forecast_RNH))
        columns = (
            as_of_R[row_K],
            np.array(asset_ids)[asset_K],
            np.full(len(row_K), family),
            np.array(horizons, dtype=np.int32)[horizon_K],
            forecast_RNH[row_K, asset_K, horizon_K],
            np.full(len(row_K), model_by_family[family]),
        )
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, _FORECAST_SCHEMA, strict=True)]
        tables.append(pa.Table.from_arrays(arrays, schema=_FORECAST_SCHEMA))
    table = pa.concat_tables(tables).combine_chunks()
    if table.num_rows:
        check_table("forecasts", table.to_pandas())
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    write_bytes(forecast_path(home, day), content)
    return table.num_rows, sha256_of(content)


def forecast_file_hash(home: Home, day: date) -> str:
    """Hash of the stored file; empty when there is none."""
    try:
        return sha256_of(forecast_path(home, day).read_bytes())
    except FileNotFoundError:
        return ""


def forecast_array(
    home: Home, day: date, as_of_R: NDArray[np.datetime64], asset_ids: tuple[str, ...], horizon: int
) -> dict[str, NDArray[np.float32]]:
    """Stored forecasts of one day and horizon as (R, N) by family; NaN where there is none."""
    if not forecast_path(home, day).exists():
        return {}
    stored = pq.ParquetFile(forecast_path(home, day)).read().to_pandas()
    stored = stored[stored["horizon"] == horizon]
    column_by_asset = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    arrays = {}
    for family, rows in stored.groupby("family", sort=True):
        forecast_RN = np.full((len(as_of_R), len(asset_ids)), np.nan, dtype=np.float32)
        row_K = np.searchsorted(as_of_R, rows["as_of"].to_numpy())
        forecast_RN[row_K, rows["asset_id"].map(column_by_asset).to_numpy()] = rows["forecast"].to_numpy()
        arrays[str(family)] = forecast_RN
    return arrays


def write_day(home: Home, day: date, record: dict[str, Any]) -> None:
    """Store a day's plan; from here on the day counts."""
    write_json(home.walk_forward / "plan" / f"{day}.json", record)


def read_day(home: Home, day: date) -> dict[str, Any] | None:
    """A day's plan as stored, or none.

    Raises:
        HomeError: the file is not JSON.
    """
    path = home.walk_forward / "plan" / f"{day}.json"
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise HomeError(f"{path}: damaged ({error}); delete it and step the day again") from error


def forget_after(home: Home, day: date) -> int:
    """Remove what is stored of the days after ``day``: plans first, then what rests on them; returns how many plans.

    Called when a day comes out otherwise than it was stored: the days after it were made from what no longer is.
    """
    answers = (home.walk_forward / "forecasts", home.walk_forward / "wanted")
    attention = (home.attention, *(home.attention / name for name in ("next_bar", "evidence", "agreement")))
    folders = (home.walk_forward / "plan", *answers, *attention)
    gone = 0
    for folder in folders:
        for path in folder.glob("????-??-??.*") if folder.is_dir() else []:
            if path.stem > day.isoformat():
                path.unlink(missing_ok=True)
                gone += path.suffix == ".json"
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
    rows = [
        row
        for record in linked_days(home)
        if (first is None or record["day"] >= first.isoformat()) and (last is None or record["day"] <= last.isoformat())
        for row in record["rows"]
    ]
    return plan_frame(rows)


def read_forecasts(home: Home, first: date, last: date, families: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Stored forecasts of the days first..last (``FORECAST_COLUMNS``), ascending; days without any are left out."""
    days = [date.fromisoformat(record["day"]) for record in linked_days(home)]
    tables = [_stored_table(*_stamped(forecast_path(home, day))) for day in days if first <= day <= last]
    forecasts = pa.concat_tables([_FORECAST_SCHEMA.empty_table(), *tables]).to_pandas()
    return forecasts if families is None else forecasts[forecasts["family"].isin(families)].reset_index(drop=True)


def _stamped(path: Path) -> tuple[Path, int, int, int]:
    """What names a file's content without reading it: files are only ever replaced whole."""
    seen = path.stat()
    return path, seen.st_ino, seen.st_mtime_ns, seen.st_size


@lru_cache(maxsize=4096)
def _stored_table(path: Path, _inode: int, _modified: int, _size: int) -> pa.Table:
    # A run asks for all days a dozen times over; tables are immutable, so one reading serves all.
    return pq.ParquetFile(path).read()
