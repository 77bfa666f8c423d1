"""Filling the raw tables: what the lake, the universe and the calendars know of a range of days."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from crossattn_core.days import bounds
from crossattn_core.errors import WarehouseError
from crossattn_core.experiment import Experiment
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.trading_calendar import ALWAYS_OPEN, expected_bars
from crossattn_core.warehouse.connection import transaction, within
from crossattn_core.warehouse.project import MODELS_FOLDER

__all__ = [
    "MADE_HERE",
    "CandleSource",
    "asset_rows",
    "create_sources",
    "existing_columns",
    "session_rows",
    "stored_grid",
    "sync_sources",
]


def _grid_row(instant: str) -> str:
    """SQL for the grid row whose bar (row - $bar, row] holds ``instant``."""
    return f"time_bucket($bar, {instant} + $bar - interval 1 microsecond)"


_COLUMNS = """
    select schema_name || '.' || table_name, list(column_name || ' ' || data_type order by column_index)
    from duckdb_columns()
    where not internal and database_name = current_database()
    group by all
"""
_LAG = "(select to_seconds(publication_lag_seconds) from raw.assets where assets.asset_id = replacement_rows.asset_id)"
MADE_HERE = {
    # Stored with the rows, because a filter on them must find its blocks without reading the rest.
    "raw.candles": {
        "traded_row": _grid_row("closed_at"),
        "known_row": _grid_row(f"closed_at + coalesce({_LAG}, interval 0 second)"),
    },
    "raw.funding": {"settled_row": _grid_row("settled_at")},
    "raw.dividends": {"ex_row": _grid_row("ex_at")},
    "raw.sessions": {"closed_row": _grid_row("closed_at")},
}
"""Table -> column -> how it follows from the columns of the lake and the length of a bar."""
_SESSIONS = pa.schema(
    [
        ("calendar", pa.string()),
        ("opened_at", pa.timestamp("us")),
        ("closed_at", pa.timestamp("us")),
        ("session", pa.int64()),
        ("is_optional", pa.bool_()),
    ]
)
_TIME = {"raw.candles": "closed_at, asset_id", "raw.funding": "settled_at, asset_id", "raw.sessions": "closed_at, calendar"}


class CandleSource(Protocol):
    """What is read of the lake; tables as ``crossattn_core.candles.lake.store.Lake`` gives them."""

    def read_candles(self, venue: str | None, first: date, last: date) -> pa.Table: ...
    def read_funding(self, first: date, last: date) -> pa.Table: ...
    def read_dividends(self, first: date, last: date) -> pa.Table: ...
    def read_revisions(self, first: date, last: date) -> pa.Table: ...
    def read_quarantine(self, first: date, last: date) -> pa.Table: ...
    def read_coverage(self, first: date, last: date) -> pa.Table: ...


def existing_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Every table and view that exists -> its columns as 'name TYPE', in order."""
    return dict(connection.execute(_COLUMNS).fetchall())


def create_sources(connection: duckdb.DuckDBPyConnection, folder: Path = MODELS_FOLDER) -> None:
    """Create the source tables that are not there yet, empty.

    Raises:
        WarehouseError: a table that is there has other columns: another version of the project made it.
    """
    declared = (folder / "sources.sql").read_text(encoding="utf-8")
    expected = _declared_columns(declared)
    held = existing_columns(connection)
    if not expected.keys() <= held.keys():
        connection.execute(declared)
        held = existing_columns(connection)
    for table, columns in expected.items():
        if held[table] != columns:
            different = sorted(set(columns) ^ set(held[table]))
            raise WarehouseError(
                f"{table}: this warehouse was made by another version of the models (different: {', '.join(different)}); delete "
                "warehouse.duckdb and receipts.sqlite in the home: all that they hold is made again from the lake"
            )


def sync_sources(
    connection: duckdb.DuckDBPyConnection, lake: CandleSource, experiment: Experiment, first: date, last: date
) -> dict[str, int]:
    """Replace the raw rows of the days first..last by the lake's, in one transaction; assets as a whole.

    Returns:
        rows now held for the range, by table.

    Raises:
        WarehouseError: the lake's tables do not fit; everything stays as it was.
    """
    create_sources(connection)
    start, end = bounds(first)[0], bounds(last)[1]
    days = f"day >= date '{first}' and day <= date '{last}'"
    calendars = [asset.calendar for asset in experiment.assets]
    rows = {
        "raw.assets": ("true", asset_rows(experiment)),
        "raw.candles": (within("closed_at", start, end), lake.read_candles(None, first, last)),
        "raw.funding": (within("settled_at", start, end), lake.read_funding(first, last)),
        "raw.dividends": (within("ex_at", start, end), lake.read_dividends(first, last)),
        "raw.revisions": (within("closed_at", start, end), lake.read_revisions(first, last)),
        "raw.quarantine": (within("closed_at", start, end), lake.read_quarantine(first, last)),
        "raw.coverage": (days, lake.read_coverage(first, last)),
        "raw.sessions": (within("closed_at", start, end), session_rows(calendars, first, last, experiment.candle_grid)),
    }
    try:
        with transaction(connection):
            for table, (condition, replacement) in rows.items():
                _replace(connection, table, condition, replacement, experiment.grid.step)
    except duckdb.Error as error:
        raise WarehouseError(f"the lake's rows of {first}..{last} do not fit, nothing was changed: {error}") from error
    return {table: replacement.num_rows for table, (_, replacement) in rows.items()}


def stored_grid(connection: duckdb.DuckDBPyConnection) -> Grid:
    """The grid that the raw tables were filled for; hours where they are empty."""
    minutes = connection.execute("select max(bar_minutes) from raw.assets").fetchall()[0][0]
    return HOURLY if minutes is None else Grid.of(timedelta(minutes=minutes))


def asset_rows(experiment: Experiment) -> pa.Table:
    """The universe as rows of ``raw.assets``."""
    return pa.Table.from_pylist(
        [
            {
                "asset_id": asset.asset_id,
                "position": position,
                "venue": asset.venue,
                "category": asset.category,
                "symbol": name,
                "sector": asset.sector,
                "market": asset.market,
                "bar_minutes": experiment.grid.step // timedelta(minutes=1),
                "candles_per_bar": experiment.grid.step // experiment.candle_grid.step,
                "calendar": asset.calendar,
                "pays_funding": asset.pays_funding,
                "max_age_hours": experiment.features.max_age_hours,
                "publication_lag_seconds": int(experiment.feed.publication_lag(asset.venue).total_seconds()),
            }
            for position, (asset, name) in enumerate(zip(experiment.assets, experiment.symbols, strict=True))
        ]
    )


def session_rows(calendars: Iterable[str], first: date, last: date, grid: Grid = HOURLY) -> pa.Table:
    """Candles of ``grid`` that each calendar calls for with closed_at in the days first..last.

    The grid itself is the calendar that never closes: its rows are always among them.

    Returns:
        columns calendar, opened_at, closed_at (naive UTC), session (running number), is_optional; by calendar and close.

    >>> rows = session_rows(["XNYS"], date(2025, 3, 7), date(2025, 3, 7))
    >>> {name: rows["calendar"].to_pylist().count(name) for name in ("24/7", "XNYS")}
    {'24/7': 24, 'XNYS': 7}
    """
    start, end = bounds(first)[0], bounds(last)[1]
    parts = []
    for calendar in sorted({ALWAYS_OPEN, *calendars}):
        bars = expected_bars(calendar, start, end, grid.step)
        columns = [bars.opened_T, bars.closed_T, bars.session_T, bars.is_optional_T]
        parts.append(pa.table([[calendar] * len(bars), *columns], schema=_SESSIONS))
    return pa.concat_tables(parts)


@cache
def _declared_columns(declared: str) -> dict[str, list[str]]:
    with duckdb.connect(":memory:") as empty:
        empty.execute(declared)
        return existing_columns(empty)


def _replace(connection: duckdb.DuckDBPyConnection, table: str, condition: str, replacement: pa.Table, bar: timedelta) -> None:
    made = MADE_HERE.get(table, {})
    columns = [row[0] for row in connection.execute(f"describe {table}").fetchall() if row[0] not in made]
    missing = [name for name in columns if name not in replacement.column_names]
    if missing:
        held = ", ".join(replacement.column_names)
        raise WarehouseError(f"{table}: the lake's rows lack {', '.join(missing)}; they have {held}")
    connection.execute(f"delete from {table} where {condition}")
    if replacement.num_rows == 0:
        return
    connection.register("replacement_rows", replacement.select(columns))
    try:
        extra = "".join(f", {expression} as {name}" for name, expression in made.items())
        # In time order, so that a range of days is a range of blocks.
        order = f"order by {_TIME[table]}" if table in _TIME else ""
        connection.execute(
            f"insert into {table} by name select *{extra} from replacement_rows {order}", {"bar": bar} if made else None
        )
    finally:
        connection.unregister("replacement_rows")
