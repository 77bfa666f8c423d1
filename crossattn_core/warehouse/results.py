"""Loading what later stages stored, for the marts to read."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from crossattn_core.errors import WarehouseError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.sql_stages import RESULTS, ResultTable
from crossattn_core.warehouse.connection import transaction
from crossattn_core.warehouse.project import Project
from crossattn_core.warehouse.sources import create_sources

__all__ = ["result_tables", "sync_results"]


def result_tables(project: Project, name: str) -> set[str]:
    """The result tables that model ``name``, or what it reads, reads."""
    read = {table for model in (*project.upstream(name), name) for table in project.models[model].depends_on}
    return {table for table in read if table.startswith("results.")}


def sync_results(
    connection: duckdb.DuckDBPyConnection, home: Home, experiment: Experiment, tables: Collection[str] | None = None
) -> dict[str, int]:
    """Replace result tables by what ``home`` holds now, in one transaction; a stage that never ran leaves its table empty.

    Args:
        tables: which of them (none: all); ``results.settings`` always.

    Returns:
        rows by table.

    Raises:
        WarehouseError: a file is damaged or lacks a column; everything stays as it was.
    """
    create_sources(connection)
    known = {table.name: table for written in RESULTS.values() for table in written}
    files = {name: _files(home, table) for name, table in known.items() if tables is None or name in tables}
    labels = experiment.labels
    settings = {
        "execution_lag": labels.execution_lag,
        "max_exit_delay_hours": labels.max_exit_delay_hours,
        "bar_minutes": experiment.grid.hours_per_bar * 60,
    }
    with transaction(connection):
        rows = {name: _load(connection, known[name], paths) for name, paths in files.items()}
        connection.execute("delete from results.settings")
        connection.executemany("insert into results.settings values (?, ?)", list(settings.items()))
    return rows | {"results.settings": len(settings)}


def _files(home: Home, table: ResultTable) -> list[Path]:
    found = sorted(home.root.glob(table.pattern))
    return found[-1:] if table.newest_only else found


def _load(connection: duckdb.DuckDBPyConnection, table: ResultTable, paths: list[Path]) -> int:
    connection.execute(f"delete from {table.name}")
    if not paths:
        return 0
    typed = [(row[0], row[1]) for row in connection.execute(f"describe {table.name}").fetchall()]
    selected = ", ".join(f'"{name}"::{kind} as "{name}"' for name, kind in typed)
    rows = table.rows.format(files="read_parquet(?, union_by_name = true)")
    try:
        connection.execute(f"insert into {table.name} by name select {selected} from ({rows})", [[str(path) for path in paths]])
    except duckdb.Error as error:
        raise WarehouseError(f"{table.name}: the files under {paths[0].parent} cannot be read: {error}") from error
    return connection.execute(f"select count(*) from {table.name}").fetchall()[0][0]
