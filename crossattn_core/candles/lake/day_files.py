"""Day files: how one asset's day becomes a small Parquet file and back, and what names its content.

Small and many, so plain: no dictionaries, no statistics, and up to 24 rows no compression (a third of the time, and one
block on disk either way); longer ones are compressed. Files are written without a sync of their own; the lake syncs once before
the ledger row that makes them count.
"""

import os
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from crossattn_core.candles.feeds.feed import KEYS, PRICE_COLUMNS
from crossattn_core.candles.lake.ledger import Coverage
from crossattn_core.days import bounds
from crossattn_core.errors import CandleError
from crossattn_core.receipts import combined_hash
from crossattn_core.universe import Kind

__all__ = [
    "CANDLE_SCHEMA",
    "DAYS_WORTH_A_CACHE",
    "DIVIDEND_SCHEMA",
    "FUNDING_SCHEMA",
    "SCHEMAS",
    "asset_folder",
    "cache_months",
    "compacted",
    "content_hash",
    "read_day_files",
    "rescaled",
    "time_column",
    "to_table",
    "write_day_file",
]

DAYS_WORTH_A_CACHE = 12
"""From so many days of one month on, a read goes through (and refreshes) the month's cache file."""

_PLAIN_ROWS = 24
"""Rows of a day that are written without compression."""

_INSTANT = pa.timestamp("us")

CANDLE_SCHEMA = pa.schema(
    [
        ("asset_id", pa.string()),
        ("opened_at", _INSTANT),
        ("closed_at", _INSTANT),
        *((name, pa.float64()) for name in (*PRICE_COLUMNS, "volume", "turnover")),
        ("fetched_at", _INSTANT),
    ]
)
FUNDING_SCHEMA = pa.schema(
    [("asset_id", pa.string()), ("settled_at", _INSTANT), ("rate", pa.float64()), ("fetched_at", _INSTANT)]
)
DIVIDEND_SCHEMA = pa.schema([("asset_id", pa.string()), ("ex_at", _INSTANT), ("amount", pa.float64()), ("fetched_at", _INSTANT)])
SCHEMAS: dict[Kind, pa.Schema] = {"candles": CANDLE_SCHEMA, "funding": FUNDING_SCHEMA, "dividends": DIVIDEND_SCHEMA}
"""What a day file of each kind holds."""


def time_column(schema: pa.Schema) -> str:
    """The column that decides a row's day."""
    return next(name for name in KEYS.values() if name in schema.names)


def asset_folder(kind: Kind, asset_id: str) -> str:
    """Where an asset's day files lie, relative to the lake."""
    return "/".join((kind, *asset_id.split(":")))


def to_table(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Rows as Arrow, in the schema's order and types."""
    arrays = []
    for field in schema:
        values = rows[field.name].to_numpy()
        if pa.types.is_timestamp(field.type):
            values = values.astype("datetime64[us]")
        elif pa.types.is_floating(field.type):
            # One NaN and one zero, so that equal values are equal bytes; NaN stays NaN, never null.
            values = np.where(np.isnan(values), np.nan, values.astype(float) + 0.0)
        arrays.append(pa.array(values, type=field.type, from_pandas=False))
    return pa.table(arrays, schema=schema)


def content_hash(table: pa.Table) -> str:
    """Sixteen hex digits over every value but ``fetched_at``; '0 rows' hashes too."""
    digest = sha256()
    for name in table.schema.names:
        if name in ("asset_id", "fetched_at"):
            continue
        digest.update(np.ascontiguousarray(table[name].to_numpy()).tobytes())
    return digest.hexdigest()[:16]


def rescaled(table: pa.Table, factor: float) -> pa.Table:
    """Candles or dividends with prices and amounts times ``factor`` and volume over it; turnover and rates are on no scale."""
    if factor == 1:
        return table
    for name in (*PRICE_COLUMNS, "amount", "volume"):
        place = table.schema.get_field_index(name)
        if place >= 0:
            values = table[name].to_numpy()
            moved = values / factor if name == "volume" else values * factor
            table = table.set_column(place, table.schema.field(place), pa.array(moved, type=pa.float64(), from_pandas=False))
    return table


def write_day_file(path: Path, table: pa.Table) -> str:
    """Write and rename, without a sync; returns the sha256 of the bytes."""
    sink = pa.BufferOutputStream()
    _write(table, sink, days=1)
    written = sink.getvalue()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(written)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(written)
    except OSError:
        temporary.unlink(missing_ok=True)  # a full disk: what was begun would stay
        raise
    os.replace(temporary, path)
    return sha256(written).hexdigest()


def read_day_files(folder: Path, days: Sequence[Coverage], schema: pa.Schema) -> pa.Table:
    """The rows of those ledger rows that have a file, in the order given, each day on its ``scale``.

    Raises:
        CandleError: a file is missing, cannot be read, or is not the bytes that were written.
    """
    tables = []
    for row in days:
        if row.file is None:
            continue
        name = row.file
        try:
            held = (folder / name).read_bytes()
            if sha256(held).hexdigest() != row.sha256:
                raise CandleError(
                    f"{folder / name}: the ledger names this file, but it does not hold the bytes that were written "
                    f"({row.asset_id} {row.day}); restore it, or delete the lake folder and fetch the candles again"
                )
            tables.append(rescaled(pq.ParquetFile(pa.BufferReader(held)).read(use_threads=False), row.scale))
        except (OSError, pa.ArrowInvalid) as error:
            raise CandleError(
                f"{folder / name}: the ledger names this file, but it cannot be read ({error}); "
                "restore it, or delete the lake folder and fetch the candles again"
            ) from error
    return pa.concat_tables(tables) if tables else schema.empty_table()


def compacted(
    folder: Path, kind: Kind, month: str, days: Sequence[Coverage], schema: pa.Schema, span: tuple[date, date]
) -> pa.Table:
    """One asset's month in one read, cut to the days of ``span``: from the cache when it is made of today's files.

    Args:
        month: '2025-03'.
        days: every ledger row of the asset's month that has a file.
    """
    made_of = _made_of(days)
    path = _cache_path(folder, kind, days[0].asset_id, month)
    table = _cached(path, made_of)
    if table is None:
        table = read_day_files(folder, days, schema).combine_chunks()
        _write_cache(path, table.replace_schema_metadata({"made_of": made_of}))
    if span[0].isoformat() <= days[0].day and days[-1].day <= span[1].isoformat():
        return table.replace_schema_metadata(None)
    return _between(table, *span).replace_schema_metadata(None)


def cache_months(folder: Path, kind: Kind, days: Sequence[Coverage], table: pa.Table) -> None:
    """Lay down the month caches of rows that were stored just now, so that the first long read is fast too.

    A month that later gains days makes its cache stale, which the next read repairs.
    """
    by_month: dict[str, list[Coverage]] = {}
    for row in days:
        if row.file is not None:
            by_month.setdefault(row.day[:7], []).append(row)
    for month, rows in by_month.items():
        if len(rows) >= DAYS_WORTH_A_CACHE:
            own = _between(table, date.fromisoformat(rows[0].day), date.fromisoformat(rows[-1].day))
            path = _cache_path(folder, kind, rows[0].asset_id, month)
            _write_cache(path, own.replace_schema_metadata({"made_of": _made_of(rows)}))


def _between(table: pa.Table, first: date, last: date) -> pa.Table:
    key = table[time_column(table.schema)].to_numpy()
    start, stop = np.searchsorted(key, np.array([bounds(first)[0], bounds(last)[1]], "datetime64[us]"), side="right")
    return table.slice(start, stop - start)


def _write(table: pa.Table, sink: Path | pa.BufferOutputStream, *, days: int) -> None:
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    if table.num_rows > _PLAIN_ROWS * days:
        instants = {field.name: "DELTA_BINARY_PACKED" for field in table.schema if pa.types.is_timestamp(field.type)}
        options = {"compression": "zstd", "use_dictionary": ["asset_id"], "column_encoding": instants}
    pq.write_table(table, sink, write_statistics=False, write_page_checksum=days > 1, **options)


def _made_of(days: Sequence[Coverage]) -> str:
    return combined_hash(*(f"{row.day}:{row.sha256}{'' if row.scale == 1 else f' times {row.scale!r}'}" for row in days))


def _cache_path(folder: Path, kind: Kind, asset_id: str, month: str) -> Path:
    return folder / "compact" / asset_folder(kind, asset_id) / f"{month}.parquet"


def _cached(path: Path, made_of: str) -> pa.Table | None:
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
    except (OSError, pa.ArrowInvalid):
        return None  # absent or torn: it is only a cache
    metadata = table.schema.metadata or {}
    return table if metadata.get(b"made_of") == made_of.encode() else None


def _write_cache(path: Path, table: pa.Table) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(table, temporary, days=31)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # a lake that cannot be written to can still be read
