"""Writing to the lake: one fetched window becomes day files and ledger rows, in one transaction.

Order: day files, one sync, ledger. Killed at any moment, the ledger knows either the whole window or nothing of
it. Writers take turns at the ledger, so two fetches of the same days store the first one's values and note the
second's differences as revisions.
"""

import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import sha256
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.candles.feeds.feed import PRICE_COLUMNS
from crossattn_core.candles.lake.day_files import (
    SCHEMAS,
    asset_folder,
    cache_months,
    content_hash,
    read_day_files,
    rescaled,
    time_column,
    to_table,
    write_day_file,
)
from crossattn_core.candles.lake.ledger import Coverage, coverage_rows, iso, put_coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import bounds, days_between
from crossattn_core.universe import Asset, Kind

__all__ = ["FetchedWindow", "WriteResult", "leave_out", "put_day_file", "write_window"]


_SCALE_ROUNDING = 1e-9
"""Relative difference that a factor and its inverse may leave."""


@dataclass(frozen=True)
class FetchedWindow:
    """What a feed gave for one asset over whole days, after validation."""

    kind: Kind
    asset: Asset
    first: date
    last: date
    rows: pd.DataFrame
    """Accepted rows in time order, all inside the days."""
    refused: pd.DataFrame
    """Refused candles with ``reason`` and ``detail``."""
    expected: dict[date, tuple[int, int]]
    """Day -> (rows the calendar calls for so far, of these waived)."""
    fetched_until: datetime
    """How far the request reached, naive UTC: min(end of the window, the source's clock)."""
    fetched_at: datetime
    """The source's clock when it responded, naive UTC."""
    request: dict[str, object] = field(default_factory=dict)
    """Parameters of the request, for the ledger."""
    requests: int = 0
    retries: int = 0

    @property
    def is_refused_whole(self) -> bool:
        """Whether something came and nothing of it was accepted."""
        return self.rows.empty and not self.refused.empty


@dataclass(frozen=True)
class WriteResult:
    """What writing a window did."""

    rows: int
    revisions: dict[date, int]


def write_window(lake: Lake, window: FetchedWindow) -> WriteResult:
    """Store one window; candles already in the lake keep their first closed value, and a different later one is noted."""
    schema = SCHEMAS[window.kind]
    table = to_table(window.rows.assign(fetched_at=window.fetched_at), schema)
    days = [day for day in days_between(window.first, window.last) if bounds(day)[0] < window.fetched_until]
    edges = np.array([bounds(day)[0] for day in days] + [bounds(days[-1])[1]], dtype="datetime64[us]") if days else None
    cuts = np.searchsorted(table[time_column(schema)].to_numpy(), edges, side="right") if edges is not None else []
    revisions: dict[date, int] = {}
    with lake.ledger.writing() as connection:
        known = {
            row.day: row
            for row in coverage_rows(connection, window.kind, window.first, window.last, asset_id=window.asset.asset_id)
        }
        rows: list[Coverage] = []
        for place, day in enumerate(days):
            fresh = table.slice(cuts[place], cuts[place + 1] - cuts[place])
            before = known.get(day.isoformat())
            if before is not None:
                fresh = rescaled(fresh, 1 / before.scale)  # what stands in the ledger and in files is on the scale of the files
            if before is not None and window.is_refused_whole:
                continue  # nothing is new about a day that is known: it stays as old as it is
            if before is not None and before.file is not None:
                stored = read_day_files(lake.folder, [replace(before, scale=1.0)], schema)
                fresh, changed = _merged(stored, fresh, 0.0 if before.scale == 1 else _SCALE_ROUNDING)
                if changed:
                    revisions[day] = len({closed_at for _, closed_at, *_ in changed})
                    _note_revisions(connection, window, changed)
            rows.append(_covered(lake, window, day, fresh, before))
        # The files must be on disk before the row that makes them count.
        os.sync()
        put_coverage(connection, rows)
        _note_refused(connection, window)
        _note_window(connection, window, table.num_rows)
    if not known:
        cache_months(lake.folder, window.kind, rows, table)
    return WriteResult(rows=table.num_rows, revisions=revisions)


def leave_out(lake: Lake, kind: Kind, asset: Asset, days: Sequence[date], at: datetime, request: dict[str, object]) -> None:
    """Note days (in order) that are not asked for at all, for the reason that ``request`` gives: no candle is expected on them.

    Their rows in the ledger have no ``attempts``.
    """
    empty = content_hash(SCHEMAS[kind].empty_table())
    with lake.ledger.writing() as connection:
        put_coverage(
            connection,
            [
                Coverage(
                    kind,
                    asset.asset_id,
                    asset.venue,
                    day.isoformat(),
                    iso(bounds(day)[1]),
                    content_hash=empty,
                    fetched_at=iso(at),
                )
                for day in days
            ],
        )
        noted = (
            kind,
            asset.asset_id,
            days[0].isoformat(),
            days[-1].isoformat(),
            json.dumps(request, sort_keys=True),
            0,
            0,
            0,
            iso(at),
        )
        connection.execute("insert into windows values (?, ?, ?, ?, ?, ?, ?, ?, ?)", noted)


def put_day_file(lake: Lake, row: Coverage, table: pa.Table, named: str, **noted: Any) -> Coverage:
    """Write the day's rows to a new file, where they changed; returns the ledger row that points to it.

    Args:
        row: the day in the ledger so far; its ``version`` is -1 when it has no file yet.
        named: ``content_hash`` of the table on the row's scale.
        noted: further fields of the row that are new.
    """
    if named == row.content_hash and row.file is not None:
        return replace(row, **noted)
    if not table.num_rows:
        return replace(row, rows=0, first=None, last=None, content_hash=named, **noted)
    # Never over a file that is there: it holds first values, whatever has become of the ledger that named it.
    names = ((at, f"{row.day}.{at}.parquet" if at else f"{row.day}.parquet") for at in count(row.version + 1))
    folder = asset_folder(row.kind, row.asset_id)
    within = f"{lake.folder}/{folder}"
    version, file = next((at, f"{folder}/{name}") for at, name in names if not os.path.exists(f"{within}/{name}"))
    digest = write_day_file(lake.folder / file, table)
    keys = table[time_column(table.schema)]
    return replace(
        row,
        rows=table.num_rows,
        first=iso(keys[0].as_py()),
        last=iso(keys[-1].as_py()),
        content_hash=named,
        file=file,
        sha256=digest,
        version=version,
        **noted,
    )


def _covered(lake: Lake, window: FetchedWindow, day: date, table: pa.Table, before: Coverage | None) -> Coverage:
    asked_until = iso(min(window.fetched_until, bounds(day)[1]))
    called_for, waived = window.expected.get(day, (0, 0))
    expected = max(called_for - waived, table.num_rows)
    row = before or Coverage(
        kind=window.kind,
        asset_id=window.asset.asset_id,
        venue=window.asset.venue,
        day=day.isoformat(),
        asked_until=asked_until,
    )
    if asked_until < row.asked_until:
        # A clock that went back knows of fewer bars; what was called for once stays called for.
        expected = max(expected, row.expected)
    return put_day_file(
        lake,
        row,
        table,
        content_hash(rescaled(table, row.scale)),
        asked_until=max(asked_until, row.asked_until),
        expected=expected,
        gaps=max(expected - table.num_rows, 0),
        attempts=row.attempts + 1,
        fetched_at=iso(window.fetched_at),
    )


Change = tuple[str, str, str, float, float, str]
"""(opened_at, closed_at, field, first value, later value, first fetched_at), instants in ISO form."""


def _merged(stored: pa.Table, fresh: pa.Table, rounding: float) -> tuple[pa.Table, list[Change]]:
    """The stored rows plus the fresh ones that are new; and what differs, by more than ``rounding``, where both have a row."""
    key = time_column(stored.schema)
    key_stored, key_fresh = stored[key].to_numpy(), fresh[key].to_numpy()
    _, at_stored, at_fresh = np.intersect1d(key_stored, key_fresh, assume_unique=True, return_indices=True)
    opened_at = "opened_at" if "opened_at" in stored.schema.names else key
    changes: list[Change] = []
    for column in stored.schema:
        if not pa.types.is_floating(column.type):
            continue
        first, later = stored[column.name].to_numpy()[at_stored], fresh[column.name].to_numpy()[at_fresh]
        differs_T = (first != later) & ~(np.isnan(first) & np.isnan(later)) & ~(np.abs(later - first) <= rounding * np.abs(first))
        for place in np.flatnonzero(differs_T):
            row = int(at_stored[place])
            opened, keyed, fetched = (iso(stored[name][row].as_py()) for name in (opened_at, key, "fetched_at"))
            changes.append((opened, keyed, column.name, float(first[place]), float(later[place]), fetched))
    added = fresh.filter(pa.array(~np.isin(key_fresh, key_stored)))
    if not added.num_rows:
        return stored, changes
    return pa.concat_tables([stored, added]).sort_by(key).combine_chunks(), changes


def _note_window(connection: sqlite3.Connection, window: FetchedWindow, rows: int) -> None:
    """Note what was requested and how it went."""
    days = window.first.isoformat(), window.last.isoformat()
    counts = rows, window.requests, window.retries
    request = json.dumps(window.request, sort_keys=True)
    connection.execute(
        "insert into windows values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (window.kind, window.asset.asset_id, *days, request, *counts, iso(window.fetched_at)),
    )


def _note_revisions(connection: sqlite3.Connection, window: FetchedWindow, changes: Sequence[Change]) -> None:
    connection.executemany(
        "insert or ignore into revisions values (?, ?, ?, ?, ?, ?, ?, ?, ?, null)",
        [(window.kind, window.asset.asset_id, *change, iso(window.fetched_at)) for change in changes],
    )


def _note_refused(connection: sqlite3.Connection, window: FetchedWindow) -> None:
    rows = []
    for row in window.refused.to_dict("records"):
        numbers = [None if pd.isna(row[name]) else float(row[name]) for name in (*PRICE_COLUMNS, "volume", "turnover")]
        times = [iso(pd.Timestamp(row[name]).to_pydatetime()) for name in ("opened_at", "closed_at")]
        fingerprint = sha256(repr((times, numbers)).encode()).hexdigest()[:16]
        why = row["reason"], row["detail"], iso(window.fetched_at), fingerprint
        rows.append((window.kind, window.asset.asset_id, *times, *numbers, *why))
    connection.executemany(f"insert or ignore into quarantine values ({', '.join('?' * 14)})", rows)
