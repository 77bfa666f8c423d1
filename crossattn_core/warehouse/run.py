"""Running models: a view or table as a whole, an incremental or Python model by days, each in one transaction.

A range of days is deleted and inserted again with exactly the warm-up that its header declares, so any order of
partitions, any rerun and any split of a range give the same stored bits.
"""

import importlib
import inspect
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa

from crossattn_core.days import bounds, days_between
from crossattn_core.errors import WarehouseError
from crossattn_core.receipts import combined_hash
from crossattn_core.warehouse.checks import RejectedError, TestResult, run_tests
from crossattn_core.warehouse.connection import transaction, within
from crossattn_core.warehouse.project import RANGE_VARIABLES, Model, Project
from crossattn_core.warehouse.sources import create_sources, existing_columns, stored_grid

__all__ = ["BuildResult", "build", "prepare", "python_rows", "set_range"]

_HOUR = timedelta(hours=1)
_MONTHS_AT_ONCE = 4
"""Of an hourly grid; one at a time where bars are shorter."""
_VIEWS = """
    select schema_name || '.' || view_name, comment
    from duckdb_views()
    where not internal and database_name = current_database()
"""


@dataclass(frozen=True)
class BuildResult:
    """What one build left in the warehouse."""

    name: str
    kind: str
    rows: int | None
    """Rows written; None for a view, which holds none."""
    rows_by_day: dict[date, int] = field(default_factory=dict)
    """Rows of each day of the range; empty for a view, and for a table without a time column."""
    content_hash_by_day: dict[date, str] = field(default_factory=dict)
    """Names the values of each day, whatever their order; days without rows included."""
    tests: list[TestResult] = field(default_factory=list)
    """What the model's tests found, where they were run."""


def build(
    connection: duckdb.DuckDBPyConnection, project: Project, name: str, first: date, last: date, *, tested: bool = False
) -> BuildResult:
    """Make model ``name`` for the days first..last; a view or a table is made as a whole.

    Views that the model reads are created on the way, so only stored models have to be built before.

    Args:
        tested: run the model's tests on the new rows before they are committed.

    Raises:
        WarehouseError: DuckDB refused; the message names file and cause, and what was stored before is untouched.
        RejectedError: a test that blocks failed; what was stored before is untouched.
    """
    model = project.model(name)

    def results() -> list[TestResult]:
        return _test_results(connection, project, model, first, last) if tested else []

    start, end = bounds(first)[0], bounds(last)[1]
    try:
        prepare(connection, project, model)
        if model.kind == "view":
            return BuildResult(name, model.kind, None, tests=results())
        if model.kind == "table":
            with transaction(connection):
                set_range(connection, start, end, start, stored_grid(connection).step)
                connection.execute(f"create or replace table {name} as from ({model.select_text}\n)")
                tests = results()
            return BuildResult(name, model.kind, _count(connection, name), tests=tests)
        with transaction(connection):
            months = _MONTHS_AT_ONCE if stored_grid(connection).step >= _HOUR else 1
            for part_first, part_last in _parts(first, last, months):
                _replace_range(connection, model, bounds(part_first)[0], bounds(part_last)[1])
            tests = results()
            rows, hashes = _by_day(connection, model, first, last)
        return BuildResult(name, model.kind, sum(rows.values()), rows, hashes, tests)
    except duckdb.Error as error:
        raise WarehouseError(f"{model.path}: building {name} for {first}..{last} failed, nothing was changed: {error}") from error


def _test_results(
    connection: duckdb.DuckDBPyConnection, project: Project, model: Model, first: date, last: date
) -> list[TestResult]:
    """What the model's tests find; RejectedError where one that blocks fails."""
    results = run_tests(connection, project, [model.name], first=first, last=last)
    refused = [result for result in results if not result.passed and result.severity == "error"]
    if refused:
        failures = "\n".join(f"  {result.test}: {result.failing} offending\n{result.failing_rows.head(5)}" for result in refused)
        kept = "" if model.kind == "view" else ", what was stored before is kept"
        raise RejectedError(
            f"{model.path}: {model.name} for {first}..{last} fails {len(refused)} tests{kept}:\n{failures}", results
        )
    return results


def prepare(connection: duckdb.DuckDBPyConnection, project: Project, model: Model) -> None:
    """Create what must exist before ``model`` runs: its views, and its stored tables, empty where they are new.

    What exists already is left alone, so that a day does not pay for every view above it.
    """
    create_sources(connection, project.folder)
    views = dict(connection.execute(_VIEWS).fetchall())
    tables = {name: columns for name, columns in existing_columns(connection).items() if name not in views}
    for name in (*project.upstream(model.name), model.name):
        above = project.models[name]
        comment = _comment(project, above)
        exists = views.get(name) == comment if above.kind == "view" else _lower(tables.get(name, [])) == _typed_columns(above)
        if exists:
            continue
        connection.execute(f"create schema if not exists {above.schema}")
        if above.kind == "view":
            # What a table held is stale once its model became a view, and the other way round.
            connection.execute(f"drop table if exists {name}" if name in tables else f"drop view if exists {name}")
            connection.execute(f"create view {name} as {above.select_text}")
            escaped = comment.replace("'", "''")
            connection.execute(f"comment on view {name} is '{escaped}'")
        else:
            if name in views:
                connection.execute(f"drop view {name}")
            _shape_table(connection, above)


def _comment(project: Project, model: Model) -> str:
    """A view's comment, shown with its name in any DuckDB shell; and a hash over all it reads: DuckDB keeps a view's types."""
    read = [project.models[name] for name in (*project.upstream(model.name), model.name)]
    made_from = combined_hash(*(text for above in read for text in (above.select_text, *_typed_columns(above))))
    return f"{model.description} [{made_from[:16]}]"


def _lower(columns: list[str]) -> list[str]:
    return [column.lower() for column in columns]


def _typed_columns(model: Model) -> list[str]:
    return [f"{column.name} {column.type}" for column in model.columns]


def _shape_table(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Bring the stored table to the model's columns; days that were built before keep their rows."""
    connection.execute(f"create table if not exists {model.name} ({', '.join(_typed_columns(model))})")
    stored = {row[0]: row[1].lower() for row in connection.execute(f"describe {model.name}").fetchall()}
    for column in model.columns:
        if column.name not in stored:
            connection.execute(f"alter table {model.name} add column {column.name} {column.type}")
        elif stored[column.name] != column.type:
            connection.execute(f"alter table {model.name} alter {column.name} type {column.type}")
    for name in stored:
        if name not in {column.name for column in model.columns}:
            connection.execute(f"alter table {model.name} drop column {name}")


def set_range(
    connection: duckdb.DuckDBPyConnection, start: datetime, end: datetime, warm_start: datetime, bar: timedelta = _HOUR
) -> None:
    """Set the session variables that models read; ``bar`` is the length of a bar of the grid."""
    for variable, instant in (("start", start), ("end", end), ("warm_start", warm_start)):
        connection.execute(f"set variable \"{variable}\" = timestamp '{instant}'")
    connection.execute(f'set variable "bar" = to_minutes({bar // timedelta(minutes=1)})')


def _warm_start(connection: duckdb.DuckDBPyConnection, model: Model, start: datetime, end: datetime, bar: timedelta) -> datetime:
    """The instant after which reading suffices: the n-th row before the anchor of every asset that counts.

    Looks back a little for all assets, further for those that lack rows there, and through all of history only for
    those that still do: a day costs the same at any age of the warehouse.
    """
    warm_up = model.warm_up
    if warm_up is None:
        return start
    # With bars under an hour a month is long: what starts anew each month starts anew each day.
    anchor = datetime(start.year, start.month, 1) if warm_up.anchor == "month" and bar >= _HOUR else start
    counted = (
        "select position from raw.assets"
        if warm_up.silent_assets
        else f"select distinct position from {warm_up.of} where {within('as_of', start, end)}"
    )
    short = [row[0] for row in connection.execute(counted).fetchall()]
    needed = [anchor]
    # A market that never closes has its bars in little more than as many rows; on a stock exchange six rows a bar,
    # and five days for its longest pause, reach far enough.
    for span in ((warm_up.bars * 5 // 4 + 48) * bar, warm_up.bars * 6 * bar + timedelta(days=5), None):
        if not short:
            break
        behind = "" if span is None else f"and as_of > timestamp '{anchor - span}'"
        found = connection.execute(
            f"""
            select position, len(newest), newest[-1]
            from (
                select position, max(as_of, {warm_up.bars}) as newest
                from {warm_up.of}
                where as_of <= timestamp '{anchor}' {behind} and position in (select unnest(?::integer[]))
                group by position
            )
            """,
            [short],
        ).fetchall()
        reached = {position: oldest for position, rows, oldest in found if rows == warm_up.bars or span is None}
        needed += reached.values()
        short = [position for position in short if position not in reached]
    return min(needed) - timedelta(microseconds=1)


def python_rows(connection: duckdb.DuckDBPyConnection, model: Model, start: datetime, end: datetime) -> pa.Table:
    """Rows of a Python model for (start, end]: its function, applied to what its select reads."""
    module, function = (model.function or "").split(":")
    # A relation takes parameters, not session variables; a result of execute() would copy the rows.
    names = [name for name in RANGE_VARIABLES if re.search(rf"\${name}\b", model.select_text)]
    values = {name: connection.execute(f"select getvariable('{name}')").fetchall()[0][0] for name in names}
    read = connection.sql(model.select_text, params=values).to_arrow_table()
    make = getattr(importlib.import_module(module), function)
    # A function that depends on the grid takes the length of its bar.
    takes_bar = "bar" in inspect.signature(make).parameters
    bar = connection.execute("select getvariable('bar')").fetchall()[0][0]
    made = make(read, start, end, bar=bar) if takes_bar else make(read, start, end)
    declared = [column.name for column in model.columns]
    if made.column_names != declared:
        raise WarehouseError(f"{model.path}:1: {model.function} returned {made.column_names}; the header declares {declared}")
    return made


def _replace_range(connection: duckdb.DuckDBPyConnection, model: Model, start: datetime, end: datetime) -> None:
    bar = stored_grid(connection).step
    set_range(connection, start, end, _warm_start(connection, model, start, end, bar), bar)
    connection.execute(f"delete from {model.name} where {within(model.time_column or '', start, end)}")
    if model.kind != "python":
        connection.execute(f"insert into {model.name} by name from ({model.select_text}\n)")
        return
    connection.register("made_rows", python_rows(connection, model, start, end))
    try:
        connection.execute(f"insert into {model.name} by name from made_rows")
    finally:
        connection.unregister("made_rows")


def _parts(first: date, last: date, months: int = _MONTHS_AT_ONCE) -> list[tuple[date, date]]:
    """A long range in parts of whole months: bounds the memory, keeps the stored rows nearly in time order without a sort.

    >>> [f"{low:%m-%d}..{high:%m-%d}" for low, high in _parts(date(2025, 2, 10), date(2025, 9, 3))]
    ['02-10..05-31', '06-01..09-03']
    """
    starts = [first]
    while (following := _month_after(starts[-1], months)) <= last:
        starts.append(following)
    return list(zip(starts, [*(start - timedelta(days=1) for start in starts[1:]), last], strict=True))


def _month_after(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _by_day(
    connection: duckdb.DuckDBPyConnection, model: Model, first: date, last: date
) -> tuple[dict[date, int], dict[date, str]]:
    start, end = bounds(first)[0], bounds(last)[1]
    columns = ", ".join(column.name for column in model.columns)
    typed = ",".join(_typed_columns(model))
    found = connection.execute(
        f"""
        select ({model.time_column} - interval 1 microsecond)::date as day, count(*), sum(hash({columns})::hugeint)
        from {model.name}
        where {within(model.time_column or "", start, end)}
        group by all
        """
    ).fetchall()
    rows, hashes = dict.fromkeys(days_between(first, last), 0), dict.fromkeys(days_between(first, last), combined_hash(typed))
    for day, count, total in found:
        rows[day] = count
        hashes[day] = combined_hash(typed, str(count), str(total))
    return rows, hashes


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return connection.execute(f"select count(*) from {name}").fetchall()[0][0]
