"""The SQL models: one select a file under ``dbt_like_sql/``, ordered and typed before anything runs.

``load_project`` parses every file, lets DuckDB bind it on empty tables in topological order, and reads column
lineage from the SQL. Whatever is wrong fails here, with file and line.
"""

from dataclasses import replace
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import duckdb

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.binding import bind_model, bind_sources, bind_test, dependencies_of, parse_model
from crossattn_core.warehouse.project import MODELS_FOLDER, RANGE_VARIABLES, Column, Model, Project

__all__ = ["MODELS_FOLDER", "RANGE_VARIABLES", "Column", "Model", "Project", "load_project"]


def load_project(folder: Path = MODELS_FOLDER) -> Project:
    """Read, order, bind and trace every model under ``folder``.

    Raises:
        WarehouseError: a missing or wrong header, SQL that does not parse, two statements in one file, a cycle, an
            unknown table or column, a column without description; each message starts with file and line.
    """
    sources_path = folder / "sources.sql"
    if not sources_path.is_file():
        raise WarehouseError(f"{sources_path}: no such file; it declares the tables that models read and do not make")
    paths = [sources_path, *sorted(folder.glob("*/*.sql"))]
    return _loaded(folder, tuple((path, path.read_text(encoding="utf-8")) for path in paths))


@lru_cache(maxsize=4)
def _loaded(folder: Path, texts: tuple[tuple[Path, str], ...]) -> Project:
    """The same texts are bound once a process, for the graph and the line."""
    (sources_path, sources_sql), *_ = texts
    files = [parse_model(path) for path, _ in texts[1:] if path.parent.name != "tests"]
    parsed = {entry.name: entry for entry in files}
    connection = duckdb.connect(":memory:")
    try:
        sources = bind_sources(connection, sources_path, sources_sql)
        dependencies = {name: dependencies_of(entry, parsed, sources) for name, entry in parsed.items()}
        try:
            order = list(TopologicalSorter(dependencies).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise WarehouseError(f"{parsed[error.args[1][0]].path}:1: models read each other in a circle: {circle}") from error
        for variable in RANGE_VARIABLES:
            connection.execute(f"set variable \"{variable}\" = timestamp '1970-01-01'")
        known = {table: tuple(column.name for column in columns) for table, columns in sources.items()}
        models: dict[str, Model] = {}
        for name in _steady(order, dependencies):
            if name in parsed:
                models[name] = bind_model(connection, parsed[name], dependencies[name], known)
                known[name] = tuple(column.name for column in models[name].columns)
        for path in sorted(folder.glob("tests/*.sql")):
            name, test = bind_test(connection, path, models)
            models[name] = replace(models[name], tests=(*models[name].tests, test))
    finally:
        connection.close()
    return Project(folder, models, sources, sources_sql)


def _steady(order: list[str], dependencies: dict[str, tuple[str, ...]]) -> list[str]:
    """A topological order that does not depend on hashing: by depth, then by name."""
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[table] for table in dependencies.get(name, ())), default=-1)
    return sorted(order, key=lambda name: (depth[name], name))
