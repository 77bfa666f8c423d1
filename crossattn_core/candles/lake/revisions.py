"""What to do when a source revises a value: nothing by itself, and two explicit acts.

History uses the first closed value. A later different one waits in the ledger until someone adopts it for the days
that they name. When a whole series moves to another scale (a split that the source adjusted for backwards), the asset's history
is rescaled (rescales.py), or retired as a whole and fetched again.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from crossattn_core.candles.lake.day_files import (
    CANDLE_SCHEMA,
    SCHEMAS,
    asset_folder,
    content_hash,
    read_day_files,
    rescaled,
    time_column,
)
from crossattn_core.candles.lake.ledger import Coverage, coverage_rows, iso, put_coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import put_day_file
from crossattn_core.days import bounds, day_of
from crossattn_core.universe import Asset, Kind

__all__ = ["adopt_revisions", "changed_values", "retire_history", "revisions_beyond"]

_PRICES = ("open", "high", "low", "close", "rate", "amount")


def revisions_beyond(revisions: pa.Table, max_revision: float) -> pa.Table:
    """The price revisions (rows of ``Lake.read_revisions``) larger than ``max_revision``, not adopted.

    Volume is revised as a matter of course and does not count; funding rates count by their absolute change.
    """
    first, later = revisions["first_value"].to_numpy(), revisions["later_value"].to_numpy()
    name = np.array(revisions["field"].to_pylist(), dtype=object)
    scale = np.where(name == "rate", 1.0, np.abs(first))
    with np.errstate(invalid="ignore"):
        is_large = np.isin(name, _PRICES) & (np.abs(later - first) > max_revision * scale)
    is_waiting = revisions["adopted_at"].is_null().to_numpy()
    return revisions.filter(pa.array(is_large & is_waiting))


def changed_values(
    lake: Lake, asset: Asset, first: date, last: date, max_revision: float, refused_on: Collection[date]
) -> list[str]:
    """What the source gives otherwise than it is stored and nobody has decided on, a line each, with what to do.

    Args:
        refused_on: days of which the newest fetch refused candles: as they came they may be on another scale.
    """
    lines: list[str] = []
    for kind in asset.series:
        found = revisions_beyond(lake.read_revisions(first, last, venue=asset.venue, kind=kind), max_revision).to_pylist()
        days = sorted(day_of(row["closed_at"]) for row in found if row["asset_id"] == asset.asset_id)
        if days:
            lines.append(
                f"{asset.asset_id} {kind}: {len(days)} stored values differ from what the source gives now ({days[0]} .. "
                f"{days[-1]}); 'crossattn candles adopt --symbol {asset.symbol} --start {days[0]} --end {days[-1]}' lets history "
                "use the later ones"
            )
    refused = [
        row
        for row in lake.read_quarantine(first, last, venue=asset.venue).to_pylist()
        if (row["asset_id"], row["reason"]) == (asset.asset_id, "other_scale") and day_of(row["closed_at"]) in refused_on
    ]
    stored = lake.read_candles(asset.venue, first, last) if refused else CANDLE_SCHEMA.empty_table()
    own = stored.filter(pa.array([name == asset.asset_id for name in stored["asset_id"].to_pylist()], type=pa.bool_()))
    close_at = dict(zip(own["closed_at"].to_pylist(), own["close"].to_pylist(), strict=True))
    moved = [row for row in refused if abs(row["close"] / close_at.get(row["closed_at"], row["close"]) - 1) > max_revision]
    if moved:
        newest = max(moved, key=lambda row: row["fetched_at"])
        lines.append(f"{asset.asset_id} candles: {len(moved)} were refused: {newest['detail']}")
    return lines


def adopt_revisions(lake: Lake, asset: Asset, first: date, last: date, at: datetime, *, kind: Kind = "candles") -> int:
    """Let history use the newest later values of the days first..last from now on; returns the values changed.

    The days' hashes change, so everything made from them becomes stale. Both values stay in the ledger.

    Args:
        at: naive UTC, noted as ``adopted_at``.
    """
    schema = SCHEMAS[kind]
    key = time_column(schema)
    adopted = 0
    with lake.ledger.writing() as connection:
        rows: list[Coverage] = []
        for row in coverage_rows(connection, kind, first, last, asset_id=asset.asset_id):
            if row.file is None:
                continue
            start, end = (iso(edge) for edge in bounds(date.fromisoformat(row.day)))
            where = "kind = ? and asset_id = ? and closed_at > ? and closed_at <= ? and adopted_at is null"
            given = (kind, asset.asset_id, start, end)
            query = f"select closed_at, field, later_value from revisions where {where} order by later_fetched_at"
            waiting = connection.execute(query, given).fetchall()
            if not waiting:
                continue
            table = _with_values(read_day_files(lake.folder, [replace(row, scale=1.0)], schema), key, waiting)
            rows.append(put_day_file(lake, row, table, content_hash(rescaled(table, row.scale))))
            connection.execute(f"update revisions set adopted_at = ? where {where}", (iso(at), *given))
            adopted += len({(moment, name) for moment, name, _ in waiting})
        put_coverage(connection, rows)
    return adopted


def retire_history(lake: Lake, asset: Asset, at: datetime, *, kind: Kind = "candles") -> Path | None:
    """Set the asset's whole history aside, so that the next ingest fetches all of it; returns where it went.

    For a split that the source has adjusted for backwards: stored prices and new ones are then on two scales. The
    files are kept under ``retired/``; quarantine and revisions stay in the ledger, the latter as adopted: what is fetched
    next is what the source gives by then. Killed half-way, a second call ends it.
    """
    folder = lake.folder / asset_folder(kind, asset.asset_id)
    aside = lake.folder / "retired" / f"{at:%Y%m%dT%H%M%S}" / asset_folder(kind, asset.asset_id)
    with lake.ledger.writing() as connection:
        given = (kind, asset.asset_id)
        connection.execute("delete from coverage where kind = ? and asset_id = ?", given)
        waiting = "kind = ? and asset_id = ? and adopted_at is null"
        connection.execute(f"update revisions set adopted_at = ? where {waiting}", (iso(at), *given))
        connection.execute("delete from rescaled_days where kind = ? and asset_id = ?", given)
        if not folder.exists():
            return None
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
    return aside


def _with_values(table: pa.Table, key: str, waiting: list[tuple[str, str, float]]) -> pa.Table:
    """The table with later values in place of first ones; of several for one field the newest."""
    place_of = {iso(moment): place for place, moment in enumerate(table[key].to_pylist())}
    columns = {name: table[name].to_numpy().copy() for name in {name for _, name, _ in waiting}}
    for moment, name, later in waiting:
        columns[name][place_of[moment]] = later
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, type=pa.float64(), from_pandas=False))
    return table
