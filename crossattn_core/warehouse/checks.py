"""Running the tests that models declare: each looks for offending rows, and passes where there are none.

All but ``schema`` are queries; a schema validates the rows of the days with pandera, a few weeks at a time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
from sqlglot import exp, parse_one

from crossattn_core.days import bounds, days_between
from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.connection import within
from crossattn_core.warehouse.header import ModelTest, Severity
from crossattn_core.warehouse.project import Model, Project
from crossattn_core.warehouse.sources import stored_grid

__all__ = ["RejectedError", "TestResult", "failing_query", "read_by_tests", "run_tests"]

_SHOWN = 50
_EVER = datetime(1970, 1, 1), datetime(2200, 1, 1)
_DAYS_AT_ONCE = 61  # bounds the memory of a schema test


@dataclass(frozen=True)
class TestResult:
    """What one test found."""

    __test__ = False  # not one of pytest's

    model: str
    test: str
    severity: Severity
    passed: bool
    failing: int
    """Offending rows, or groups of rows for ``unique``."""
    failing_rows: pd.DataFrame
    """The first of them, in the order of the model's grain."""


class RejectedError(WarehouseError):
    """Rows failed a test that blocks; ``results`` holds what every test found."""

    def __init__(self, message: str, results: list[TestResult]) -> None:
        super().__init__(message)
        self.results = results


def run_tests(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    names: Iterable[str] | None = None,
    *,
    first: date | None = None,
    last: date | None = None,
) -> list[TestResult]:
    """Run every test of the models ``names`` (all where none), on the days first..last where they are given.

    In SQL tests under ``tests/``, ``$start`` and ``$end`` stand for the instants that the days lie between; a test that names
    neither sees the whole table.

    Raises:
        WarehouseError: a model was never built, or a test's own SQL fails.
    """
    results = []
    for name in project.models if names is None else names:
        model = project.model(name)
        for test in model.tests:
            if test.kind == "schema":
                results.append(_schema_result(connection, model, test, first, last))
                continue
            query = failing_query(model, test, first, last)
            try:
                failing = connection.execute(f"select count(*) from ({query}\n)").fetchall()[0][0]
                rows = connection.execute(f"from ({query}\n) limit {_SHOWN if failing else 0}").df()
            except duckdb.CatalogException as error:
                raise WarehouseError(f"{name} is not built yet, so {test.name} cannot run; build it first ({error})") from error
            except duckdb.Error as error:
                raise WarehouseError(f"{model.path}: test {test.name} does not run: {error}") from error
            results.append(TestResult(name, test.name, test.severity, failing == 0, failing, rows))
    return results


def failing_query(model: Model, test: ModelTest, first: date | None = None, last: date | None = None) -> str:
    """The query whose rows offend ``test``."""
    rows = f"(select * from {model.name}{_within(model, first, last)}) as tested"
    argument: Any = test.argument
    match test.kind:
        case "not_null":
            return f"select * from {rows} where {' or '.join(f'{column} is null' for column in argument)}"
        case "unique":
            columns = ", ".join(argument)
            return f"select {columns}, count(*) as rows from {rows} group by {columns} having count(*) > 1"
        case "range":
            outside = [bound for column, (low, high) in argument.items() for bound in _outside(column, low, high)]
            return f"select * from {rows} where {' or '.join(outside)}"
        case "expectation":
            return f"select * from {rows} where not coalesce({argument}, true)"
        case "relationship":
            column, target = next(iter(argument.items()))
            table, key = str(target).rsplit(".", 1)
            # Beside a null, 'not in' is null for every value: no row would ever offend.
            known = f"select {key} from {table} where {key} is not null"
            return f"select * from {rows} where {column} is not null and {column} not in ({known})"
        case "sql":
            start, end = (_EVER[0] if first is None else bounds(first)[0], _EVER[1] if last is None else bounds(last)[1])
            return test.sql.replace("$start", f"timestamp '{start}'").replace("$end", f"timestamp '{end}'")
    raise WarehouseError(f"{model.path}: test kind {test.kind!r} is unknown")


def _schema_result(
    connection: duckdb.DuckDBPyConnection, model: Model, test: ModelTest, first: date | None, last: date | None
) -> TestResult:
    from crossattn_core.panel.schemas import failures  # pandera takes a second to import

    grid, parts = stored_grid(connection), [(first, last)]
    if first is not None and last is not None:
        days_at_once = max(_DAYS_AT_ONCE * 24 // grid.bars_per_day, 1)
        starts = list(days_between(first, last))[::days_at_once]
        parts = [(start, min(start + timedelta(days=days_at_once - 1), last)) for start in starts]
    found = []
    for part_first, part_last in parts:
        rows = connection.execute(f"select * from {model.name}{_within(model, part_first, part_last)} order by all").df()
        # DuckDB gives a text column without rows another type than one with some.
        if len(rows):
            found.append(failures(test.argument, rows, grid))
    failing = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["column", "check", "value", "row"])
    return TestResult(model.name, test.name, test.severity, failing.empty, len(failing), failing.head(_SHOWN))


def _outside(column: str, low: float | None, high: float | None) -> list[str]:
    # DuckDB puts NaN above every number, so a NaN fails any upper bound; it never belongs in a table.
    conditions = [f"isnan({column}::double)"]
    conditions += [f"{column} < {low}"] if low is not None else []
    conditions += [f"{column} > {high}"] if high is not None else []
    return conditions


def _within(model: Model, first: date | None, last: date | None) -> str:
    if first is None or last is None or model.time_column is None:
        return ""
    return f" where {within(model.time_column, bounds(first)[0], bounds(last)[1])}"


def read_by_tests(project: Project, model: Model) -> list[str]:
    """Models that only the tests of ``model`` read: they are built first, so that the tests can run."""
    queries = [parse_one(failing_query(model, test), dialect="duckdb") for test in model.tests if test.kind != "schema"]
    read = {f"{found.db}.{found.name}" for query in queries for found in query.find_all(exp.Table)}
    return sorted(read & project.models.keys() - {model.name} - set(project.downstream(model.name)))
