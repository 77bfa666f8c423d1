"""Loading the SQL models: one select a file under ``dbt_like_sql/``, parsed, ordered and typed before anything runs.

DuckDB binds every model on empty tables in topological order: it gives the types, and refuses what it cannot find. Column
lineage is read from the SQL. Whatever is wrong fails here, with file and line.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from crossattn_core.errors import WarehouseError
from crossattn_core.receipts import combined_hash
from crossattn_core.syntax_tree import tree_hash
from crossattn_core.warehouse.header import Header, ModelTest, described, read_header, read_test_header
from crossattn_core.warehouse.lineage import UNRESOLVED, Lineage, column_lineage, tables_read
from crossattn_core.warehouse.project import MODELS_FOLDER, RANGE_VARIABLES, Column, Model, Project, nearest

__all__ = ["load_project"]

_SOURCE_COLUMN = re.compile(r"^\s*\"?(?P<name>\w+)\"?\s+[\w()]+,?\s*--\s*(?P<text>.+)$")
_SOURCE_TABLE = re.compile(r"^create table if not exists (?P<name>[\w.]+) \($")


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
    files = [_parse_model(path) for path, _ in texts[1:] if path.parent.name != "tests"]
    parsed = {entry.name: entry for entry in files}
    connection = duckdb.connect(":memory:")
    try:
        sources = _bind_sources(connection, sources_path, sources_sql)
        dependencies = {name: _dependencies_of(entry, parsed, sources) for name, entry in parsed.items()}
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
                models[name] = _bind_model(connection, parsed[name], dependencies[name], known)
                known[name] = tuple(column.name for column in models[name].columns)
        for path in sorted(folder.glob("tests/*.sql")):
            name, test = _bind_test(connection, path, models)
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


@dataclass(frozen=True)
class _Parsed:
    """One model file, parsed and not yet bound."""

    name: str
    path: Path
    text: str
    header: Header
    select: exp.Expr
    tables: tuple[exp.Table, ...]


def _parse_model(path: Path) -> _Parsed:
    """Read one file: header, one select, the tables that it reads."""
    text = path.read_text(encoding="utf-8")
    header = read_header(path, text)
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect="duckdb") if statement is not None]
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        raise WarehouseError(f"{path}:{detail.get('line', 1)}: SQL does not parse: {detail.get('description', error)}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise WarehouseError(f"{path}:1: holds {len(statements)} statements; a model file is one select")
    select = statements[0]
    return _Parsed(f"{path.parent.name}.{path.stem}", path, text, header, select, tuple(tables_read(select)))


def _dependencies_of(entry: _Parsed, parsed: dict[str, _Parsed], sources: dict[str, tuple[Column, ...]]) -> tuple[str, ...]:
    """The models and sources that a file reads, sorted; an unknown one is refused with file and line."""
    found = set()
    for table in entry.tables:
        name = f"{table.db}.{table.name}" if table.db else table.name
        if name not in parsed and name not in sources:
            line = table.this.meta.get("line", 1)
            raise WarehouseError(
                f"{entry.path}:{line}: reads {name!r}, which is neither a model nor a source{nearest(name, [*parsed, *sources])}"
            )
        found.add(name)
    return tuple(sorted(found))


def _bind_sources(connection: duckdb.DuckDBPyConnection, path: Path, text: str) -> dict[str, tuple[Column, ...]]:
    """Create the source tables, empty, and read the description of each column from the comments."""
    with _located(path):
        connection.execute(text)
    notes: dict[tuple[str, str], tuple[str, str]] = {}
    table = ""
    for line in text.splitlines():
        if opened := _SOURCE_TABLE.match(line):
            table = opened["name"]
        elif (noted := _SOURCE_COLUMN.match(line)) and (parts := described(noted["text"])):
            notes[table, noted["name"]] = parts
    sources: dict[str, list[Column]] = {}
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, lower(data_type) from duckdb_columns() where not internal "
        "order by 1, column_index"
    ).fetchall()
    for name, column, type_ in rows:
        if (name, column) not in notes:
            raise WarehouseError(f"{path}:1: {name}.{column} has no description with a unit; add '-- what it is [unit]'")
        description, unit = notes[name, column]
        sources.setdefault(name, []).append(Column(column, type_, unit, description))
    return {name: tuple(columns) for name, columns in sources.items()}


def _bind_model(
    connection: duckdb.DuckDBPyConnection, entry: _Parsed, depends_on: tuple[str, ...], known: dict[str, tuple[str, ...]]
) -> Model:
    """Create the model as an empty table: DuckDB gives the types, and refuses what it cannot find."""
    header = entry.header
    connection.execute(f"create schema if not exists {entry.path.parent.name}")
    with _located(entry.path):
        # The file's text keeps its own lines, so that DuckDB's line numbers are the file's.
        selected = connection.execute(f"describe {entry.text.rstrip().rstrip(';')}\n").fetchall()
        if header.kind == "python":
            typed = ", ".join(f"{column.name} {column.type}" for column in header.columns)
            connection.execute(f"create table {entry.name} ({typed})")
        else:
            connection.execute(f"create table {entry.name} as from ({entry.text.rstrip().rstrip(';')}\n) limit 0")
        types = {row[0]: row[1].lower() for row in connection.execute(f"describe {entry.name}").fetchall()}
    notes = {column.name: column for column in header.columns}
    for name in types:
        if name not in notes:
            line = header.lines.get("columns", 1)
            raise WarehouseError(f"{entry.path}:{line}: column {name!r} has no description; add it under 'columns' in the header")
    for name in notes:
        if name not in types:
            line = header.lines.get(name, 1)
            raise WarehouseError(f"{entry.path}:{line}: describes column {name!r}, which the select does not return")
    lineage = column_lineage(entry.select, [row[0] for row in selected], known)
    if header.kind == "python":
        lineage = _declared_lineage(entry, lineage)
    return Model(
        name=entry.name,
        kind=header.kind,
        path=entry.path,
        description=header.description,
        grain=header.grain,
        time_column=header.time_column,
        columns=tuple(Column(name, type_, notes[name].unit, notes[name].description) for name, type_ in types.items()),
        depends_on=depends_on,
        column_lineage=lineage,
        sql=entry.text,
        sql_hash=_code_hash(entry),
        tests=header.tests,
        warm_up=header.warm_up,
        function=header.function,
    )


def _bind_test(connection: duckdb.DuckDBPyConnection, path: Path, models: dict[str, Model]) -> tuple[str, ModelTest]:
    """(model, test) of a file under ``tests/``: a select that returns offending rows."""
    text = path.read_text(encoding="utf-8")
    name, description, severity = read_test_header(path, text)
    if name not in models:
        raise WarehouseError(f"{path}:1: tests {name!r}, which is no model{nearest(name, models)}")
    with _located(path):
        connection.execute(f"describe {text.rstrip().rstrip(';')}\n")
    return name, ModelTest("sql", f"{path.stem}: {description}", severity, text.rstrip().rstrip(";"))


def _declared_lineage(entry: _Parsed, selected: dict[str, Lineage]) -> dict[str, Lineage]:
    lineage: dict[str, Lineage] = {}
    for column in entry.header.columns:
        pairs: set[tuple[str, str]] = set()
        resolved = True
        for name in column.made_from:
            if name not in selected:
                where = f"{entry.path}:{entry.header.lines.get(column.name, 1)}"
                raise WarehouseError(f"{where}: {column.name} is made from {name!r}, which the select does not return")
            origin = selected[name]
            if isinstance(origin, str):
                resolved = False
            else:
                pairs.update(origin)
        lineage[column.name] = tuple(sorted(pairs)) if resolved else UNRESOLVED
    return lineage


def _code_hash(entry: _Parsed) -> str:
    header = entry.header
    source = ""
    if header.function is not None:
        module = Path(__file__).resolve().parents[2].joinpath(*header.function.split(":")[0].split("."))
        text = module.with_suffix(".py").read_text(encoding="utf-8") if module.with_suffix(".py").is_file() else ""
        source = tree_hash([ast.parse(text)])
    # Comments and spacing do not change what a model makes; sqlglot's own rendering drops both.
    select = entry.select.sql(dialect="duckdb", comments=False)
    return combined_hash(select, repr((header.kind, header.warm_up, header.function)), source)


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Whatever DuckDB refuses in the block is an error with file and line."""
    try:
        yield
    except duckdb.Error as error:
        found = re.search(r"LINE (\d+):", str(error))
        lines = [line.strip() for line in str(error).split("LINE ")[0].splitlines() if line.strip()]
        raise WarehouseError(f"{path}:{found[1] if found else 1}: {' '.join(lines)}") from error
