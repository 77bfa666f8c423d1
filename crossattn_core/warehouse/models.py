"""The SQL models: one select a file under ``dbt_like_sql/``, ordered and typed before anything runs.

``load_project`` parses every file, lets DuckDB bind it on empty tables in topological order, and reads column
lineage from the SQL. Whatever is wrong fails here, with file and line.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.header import Header, Kind, ModelTest, WarmUp, described, read_header
from crossattn_core.warehouse.lineage import UNRESOLVED, Lineage, column_lineage, tables_read

__all__ = ["MODELS_FOLDER", "RANGE_VARIABLES", "Column", "Model", "Project", "load_project"]

MODELS_FOLDER = Path(__file__).resolve().parents[2] / "dbt_like_sql"

_SOURCE_COLUMN = re.compile(r"^\s*(?P<name>\w+)\s+[\w()]+,?\s*--\s*(?P<text>.+)$")
_SOURCE_TABLE = re.compile(r"^create table if not exists (?P<name>[\w.]+) \($")
RANGE_VARIABLES = ("start", "end", "warm_start")
"""Session variables that a model may read: rows in ($start, $end] are made, rows after $warm_start suffice."""


@dataclass(frozen=True)
class Column:
    """One column of a model or source: DuckDB's type, the unit and description of its header."""

    name: str
    type: str
    unit: str
    description: str


@dataclass(frozen=True)
class Model:
    """One SQL file, parsed and bound."""

    name: str
    """``schema.model``, from folder and file name."""
    kind: Kind
    path: Path
    description: str
    grain: tuple[str, ...]
    time_column: str | None
    columns: tuple[Column, ...]
    depends_on: tuple[str, ...]
    """Models and sources that the select reads, sorted."""
    column_lineage: dict[str, Lineage]
    """Column -> the upstream (table, column) pairs that it is made from, or ``'unresolved'``."""
    sql: str
    """The file's text."""
    sql_hash: str
    """Sixteen hex digits over the select and what the header says about running it; prose does not count."""
    tests: tuple[ModelTest, ...]
    warm_up: WarmUp | None
    function: str | None
    """``package.module:name`` of a Python model."""

    @property
    def schema(self) -> str:
        """The folder that holds the file."""
        return self.name.split(".")[0]

    @property
    def select_text(self) -> str:
        """The file's text without a closing semicolon, ready to stand inside another statement."""
        return self.sql.rstrip().rstrip(";")

    @property
    def is_stored_by_day(self) -> bool:
        """Whether ``build`` replaces a range of days rather than the whole."""
        return self.kind in ("incremental", "python")


@dataclass(frozen=True)
class Project:
    """All models, in an order in which each stands behind what it reads."""

    folder: Path
    models: dict[str, Model]
    sources: dict[str, tuple[Column, ...]]
    sources_sql: str

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def model(self, name: str) -> Model:
        """The model called ``name``; an unknown one is refused with the nearest known."""
        if name not in self.models:
            raise WarehouseError(f"no model {name!r}{_nearest(name, self.models)}; known are {', '.join(self.models)}")
        return self.models[name]

    def columns_of(self, table: str) -> tuple[Column, ...]:
        """Columns of a model or source."""
        return self.sources[table] if table in self.sources else self.model(table).columns

    def upstream(self, name: str) -> tuple[str, ...]:
        """Every model that ``name`` reads, directly or not, in running order."""
        found: set[str] = set()
        frontier = [name]
        while frontier:
            for table in self.model(frontier.pop()).depends_on:
                if table in self.models and table not in found:
                    found.add(table)
                    frontier.append(table)
        return tuple(model for model in self.models if model in found)

    def downstream(self, name: str) -> tuple[str, ...]:
        """Every model that reads ``name`` (a model or a source), directly or not, in running order."""
        found: set[str] = {name}
        for model in self:
            if found.intersection(model.depends_on):
                found.add(model.name)
        return tuple(model for model in self.models if model in found - {name})

    @cached_property
    def code_versions(self) -> dict[str, str]:
        """Model -> a hash that changes with its own SQL or that of any view it reads.

        A view holds no rows of its own, so what reads it is stale when the view changes.
        """
        versions: dict[str, str] = {}
        for model in self:
            views = [versions[table] for table in model.depends_on if table in self.models and self.models[table].kind == "view"]
            versions[model.name] = _short_hash(model.sql_hash, *views)
        return versions


@dataclass(frozen=True)
class _Parsed:
    name: str
    path: Path
    text: str
    header: Header
    select: exp.Expr
    tables: tuple[exp.Table, ...]


def load_project(folder: Path = MODELS_FOLDER) -> Project:
    """Read, order, bind and trace every model under ``folder``.

    Raises:
        WarehouseError: a missing or wrong header, SQL that does not parse, two statements in one file, a cycle, an
            unknown table or column, a column without description; each message starts with file and line.
    """
    sources_path = folder / "sources.sql"
    if not sources_path.is_file():
        raise WarehouseError(f"{sources_path}: no such file; it declares the tables that models read and do not make")
    sources_sql = sources_path.read_text(encoding="utf-8")
    files = [_parse(path) for path in sorted(folder.glob("*/*.sql")) if path.parent.name != "tests"]
    parsed = {entry.name: entry for entry in files}
    connection = duckdb.connect(":memory:")
    try:
        sources = _bind_sources(connection, sources_path, sources_sql)
        dependencies = {name: _dependencies(entry, parsed, sources) for name, entry in parsed.items()}
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
                models[name] = _bind(connection, parsed[name], dependencies[name], known)
                known[name] = tuple(column.name for column in models[name].columns)
    finally:
        connection.close()
    return Project(folder, models, sources, sources_sql)


def _parse(path: Path) -> _Parsed:
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


def _dependencies(entry: _Parsed, parsed: dict[str, _Parsed], sources: dict[str, tuple[Column, ...]]) -> tuple[str, ...]:
    found = set()
    for table in entry.tables:
        name = f"{table.db}.{table.name}" if table.db else table.name
        if name not in parsed and name not in sources:
            line = table.this.meta.get("line", 1)
            raise WarehouseError(
                f"{entry.path}:{line}: reads {name!r}, which is neither a model nor a source{_nearest(name, [*parsed, *sources])}"
            )
        found.add(name)
    return tuple(sorted(found))


def _bind_sources(connection: duckdb.DuckDBPyConnection, path: Path, text: str) -> dict[str, tuple[Column, ...]]:
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


def _bind(
    connection: duckdb.DuckDBPyConnection, entry: _Parsed, depends_on: tuple[str, ...], known: dict[str, tuple[str, ...]]
) -> Model:
    """Create the model as an empty table: DuckDB says the types, and refuses what it cannot find."""
    header = entry.header
    connection.execute(f"create schema if not exists {entry.path.parent.name}")
    try:
        # The file's text stands on its own lines, so that DuckDB's line numbers are the file's.
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
            raise WarehouseError(f"{entry.path}:1: column {name!r} has no description; add it under 'columns' in the header")
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
        source = module.with_suffix(".py").read_text(encoding="utf-8") if module.with_suffix(".py").is_file() else ""
    # Comments and spacing do not change what a model makes; sqlglot's own rendering drops both.
    select = entry.select.sql(dialect="duckdb", comments=False)
    return _short_hash(select, repr((header.kind, header.warm_up, header.function)), source)


def _steady(order: list[str], dependencies: dict[str, tuple[str, ...]]) -> list[str]:
    """A topological order that does not depend on hashing: by depth, then by name."""
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[table] for table in dependencies.get(name, ())), default=-1)
    return sorted(order, key=lambda name: (depth[name], name))


def _nearest(name: str, known: object) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)  # type: ignore[call-overload]
    return f"; did you mean {near[0]!r}?" if near else ""


def _line_of(error: duckdb.Error) -> int:
    found = re.search(r"LINE (\d+):", str(error))
    return int(found[1]) if found else 1


def _first_lines(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).split("LINE ")[0].splitlines() if line.strip()]
    return " ".join(lines)


def _short_hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()[:16]
