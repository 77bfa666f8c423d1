"""Parsing a model file and binding it: DuckDB gives its types on empty tables, and refuses what it cannot find."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from crossattn_core.code_hash import tree_hash
from crossattn_core.errors import WarehouseError
from crossattn_core.receipts import combined_hash
from crossattn_core.warehouse.header import Header, ModelTest, described, read_header, read_test_header
from crossattn_core.warehouse.lineage import UNRESOLVED, Lineage, column_lineage, tables_read
from crossattn_core.warehouse.project import Column, Model, nearest

__all__ = ["Parsed", "bind_model", "bind_sources", "bind_test", "dependencies_of", "parse_model"]

_SOURCE_COLUMN = re.compile(r"^\s*\"?(?P<name>\w+)\"?\s+[\w()]+,?\s*--\s*(?P<text>.+)$")
_SOURCE_TABLE = re.compile(r"^create table if not exists (?P<name>[\w.]+) \($")


@dataclass(frozen=True)
class Parsed:
    """One model file, parsed and not yet bound."""

    name: str
    path: Path
    text: str
    header: Header
    select: exp.Expr
    tables: tuple[exp.Table, ...]


def parse_model(path: Path) -> Parsed:
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
    return Parsed(f"{path.parent.name}.{path.stem}", path, text, header, select, tuple(tables_read(select)))


def dependencies_of(entry: Parsed, parsed: dict[str, Parsed], sources: dict[str, tuple[Column, ...]]) -> tuple[str, ...]:
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


def bind_sources(connection: duckdb.DuckDBPyConnection, path: Path, text: str) -> dict[str, tuple[Column, ...]]:
    """Create the source tables, empty, and read the description of each column from the comments."""
    try:
        connection.execute(text)
    except duckdb.Error as error:
        raise WarehouseError(f"{path}:{_line_of(error)}: {_first_lines(error)}") from error
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


def bind_model(
    connection: duckdb.DuckDBPyConnection, entry: Parsed, depends_on: tuple[str, ...], known: dict[str, tuple[str, ...]]
) -> Model:
    """Create the model as an empty table: DuckDB gives the types, and refuses what it cannot find."""
    header = entry.header
    connection.execute(f"create schema if not exists {entry.path.parent.name}")
    try:
        # The file's text keeps its own lines, so that DuckDB's line numbers are the file's.
        selected = connection.execute(f"describe {entry.text.rstrip().rstrip(';')}\n").fetchall()
        if header.kind == "python":
            typed = ", ".join(f"{column.name} {column.type}" for column in header.columns)
            connection.execute(f"create table {entry.name} ({typed})")
        else:
            connection.execute(f"create table {entry.name} as from ({entry.text.rstrip().rstrip(';')}\n) limit 0")
        described_rows = connection.execute(f"describe {entry.name}").fetchall()
    except duckdb.Error as error:
        raise WarehouseError(f"{entry.path}:{_line_of(error)}: {_first_lines(error)}") from error
    types = {row[0]: row[1].lower() for row in described_rows}
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


def bind_test(connection: duckdb.DuckDBPyConnection, path: Path, models: dict[str, Model]) -> tuple[str, ModelTest]:
    """(model, test) of a file under ``tests/``: a select that returns offending rows."""
    text = path.read_text(encoding="utf-8")
    name, description, severity = read_test_header(path, text)
    if name not in models:
        raise WarehouseError(f"{path}:1: tests {name!r}, which is no model{nearest(name, models)}")
    try:
        connection.execute(f"describe {text.rstrip().rstrip(';')}\n")
    except duckdb.Error as error:
        raise WarehouseError(f"{path}:{_line_of(error)}: {_first_lines(error)}") from error
    return name, ModelTest("sql", f"{path.stem}: {description}", severity, text.rstrip().rstrip(";"))


def _declared_lineage(entry: Parsed, selected: dict[str, Lineage]) -> dict[str, Lineage]:
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


def _code_hash(entry: Parsed) -> str:
    header = entry.header
    source = ""
    if header.function is not None:
        module = Path(__file__).resolve().parents[2].joinpath(*header.function.split(":")[0].split("."))
        text = module.with_suffix(".py").read_text(encoding="utf-8") if module.with_suffix(".py").is_file() else ""
        source = tree_hash([ast.parse(text)])
    # Comments and spacing do not change what a model makes; sqlglot's own rendering drops both.
    select = entry.select.sql(dialect="duckdb", comments=False)
    return combined_hash(select, repr((header.kind, header.warm_up, header.function)), source)


def _line_of(error: duckdb.Error) -> int:
    found = re.search(r"LINE (\d+):", str(error))
    return int(found[1]) if found else 1


def _first_lines(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).split("LINE ")[0].splitlines() if line.strip()]
    return " ".join(lines)
