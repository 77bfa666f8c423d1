"""Reading back what later stages stored, so that marts can tell it in SQL."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from crossattn_core.errors import WarehouseError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.warehouse.connection import transaction
from crossattn_core.warehouse.project import Project
from crossattn_core.warehouse.sources import create_sources

__all__ = ["RESULT_STAGES", "reads_results", "result_tables", "sync_results"]

RESULT_STAGES = {
    "results.forecasts": "walk_forward",
    "results.weights": "target_weights",
    "results.returns": "backtest_report",
    "results.attention": "attention_snapshot",
    "results.attention_evidence": "attention_snapshot",
    "results.attention_agreement": "attention_snapshot",
    "results.regime_windows": "regime_windows",
}
"""Result table -> the stage whose files fill it; ``results.settings`` comes from the experiment."""

_READ = {"results.forecasts": "(select *, value as forecast from {files} where kind = 'return')"}
"""Result table -> how its files are read, where they hold more than the table."""


def reads_results(project: Project, name: str) -> bool:
    """Whether model ``name`` (or a view that it reads) reads a result table."""
    return bool(result_tables(project, name))


def result_tables(project: Project, name: str) -> set[str]:
    """The result tables that model ``name``, or what it reads, reads."""
    read = {table for model in (*project.upstream(name), name) for table in project.models[model].depends_on}
    return {table for table in read if table.startswith("results.")}


def sync_results(
    connection: duckdb.DuckDBPyConnection, home: Home, experiment: Experiment, tables: Collection[str] = tuple(RESULT_STAGES)
) -> dict[str, int]:
    """Replace result tables by what ``home`` holds now, in one transaction; a stage that never ran leaves its table empty.

    Args:
        tables: which of them; ``results.settings`` always.

    Returns:
        rows by table.

    Raises:
        WarehouseError: a file is damaged or lacks a column; everything stays as it was.
    """
    create_sources(connection)
    newest_report = sorted(home.reports.glob("*/returns.parquet"))[-1:]
    files = {
        "results.forecasts": sorted((home.walk_forward / "predictions").glob("*.parquet")),
        "results.weights": sorted(home.weights.glob("*.parquet")),
        "results.returns": newest_report,
        "results.attention": sorted(home.attention.glob("*.parquet")),
        "results.attention_evidence": sorted((home.attention / "evidence").glob("*.parquet")),
        "results.attention_agreement": sorted((home.attention / "agreement").glob("*.parquet")),
        "results.regime_windows": sorted(home.walk_forward.glob("regime_windows.parquet")),
    }
    labels = experiment.labels
    settings = {"execution_lag": labels.execution_lag, "max_exit_delay": labels.max_exit_delay}
    with transaction(connection):
        rows = {table: _load(connection, table, paths) for table, paths in files.items() if table in tables}
        connection.execute("delete from results.settings")
        connection.executemany("insert into results.settings values (?, ?)", list(settings.items()))
    return rows | {"results.settings": len(settings)}


def _load(connection: duckdb.DuckDBPyConnection, table: str, paths: list[Path]) -> int:
    connection.execute(f"delete from {table}")
    if not paths:
        return 0
    typed = [(row[0], row[1]) for row in connection.execute(f"describe {table}").fetchall()]
    files = "read_parquet(?, union_by_name = true)"
    selected = ", ".join(f'"{name}"::{kind} as "{name}"' for name, kind in typed)
    try:
        connection.execute(
            f"insert into {table} by name select {selected} from {_READ.get(table, '{files}').format(files=files)}",
            [[str(path) for path in paths]],
        )
    except duckdb.Error as error:
        raise WarehouseError(f"{table}: the files under {paths[0].parent} cannot be read: {error}") from error
    return connection.execute(f"select count(*) from {table}").fetchall()[0][0]
