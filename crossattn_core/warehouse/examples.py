"""Unit tests of models: given rows, expected rows, in YAML files under ``dbt_like_sql/tests/``.

    model: features.bar
    examples:
      - name: the first bar of a session splits its move into gap and return
        start: 2025-03-03 00:00          # rows in (start, end] are made; all where absent
        end: 2025-03-04 00:00
        given:
          aligned.fresh_bars: |
            as_of            | asset_id | close
            2025-03-03 15:00 | A        | 101.0
        expect: |
          as_of            | asset_id | log_return
          2025-03-03 15:00 | A        | null

Tables that are not given are empty, columns that are not given are null, columns that are not expected are free.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.project import MODELS_FOLDER, Column, Model, Project
from crossattn_core.warehouse.run import python_rows, set_range

__all__ = ["Example", "load_examples", "run_example"]

_TOLERANCE = 1e-6  # relative: features are stored as FLOAT
_ALWAYS = (datetime(1970, 1, 1), datetime(2100, 1, 1))


@dataclass(frozen=True)
class Example:
    """One given/expected pair."""

    model: str
    name: str
    path: Path
    given: dict[str, list[dict[str, str]]]
    expect: list[dict[str, str]]
    start: datetime
    end: datetime


def load_examples(project: Project, folder: Path = MODELS_FOLDER) -> list[Example]:
    """Every example under ``folder/tests``, in file order.

    Raises:
        WarehouseError: a file that is no example file, or names a model, table or column that does not exist.
    """
    examples = []
    for path in sorted(folder.glob("tests/*.yaml")):
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(read, dict) or set(read) != {"model", "examples"}:
            raise WarehouseError(f"{path}:1: an example file has 'model' and 'examples'")
        for entry in read["examples"]:
            examples.append(_example(project, path, read["model"], entry))
    return examples


def run_example(project: Project, example: Example) -> str:
    """Run one example in an empty database; the differences, one a line, or '' where rows are as expected."""
    model = project.model(example.model)
    connection = duckdb.connect(":memory:")
    try:
        for table in model.depends_on:
            _fill(connection, table, project.columns_of(table), example.given.get(table, []))
        connection.execute(f"create schema if not exists {model.schema}")
        _fill(connection, "expected_rows", _chosen(model, example), example.expect)
        set_range(connection, example.start, example.end, _ALWAYS[0])
        if model.kind == "python":
            connection.register("made", python_rows(connection, model, example.start, example.end))
        else:
            connection.execute(f"create table made as from ({model.select_text}\n)")
        return _differences(connection, [column.name for column in _chosen(model, example)], model.grain)
    finally:
        connection.close()


def _example(project: Project, path: Path, name: str, entry: Any) -> Example:
    model = project.model(name)
    unknown = set(entry) - {"name", "start", "end", "given", "expect"}
    if unknown or not {"name", "given", "expect"} <= set(entry):
        raise WarehouseError(f"{path}: example {entry.get('name')!r} has 'name', 'given', 'expect' and perhaps 'start', 'end'")
    for table in entry["given"]:
        if table not in model.depends_on:
            raise WarehouseError(
                f"{path}: {entry['name']!r} gives {table}, which {name} does not read ({', '.join(model.depends_on)})"
            )
    start, end = (_instant(entry.get(key), default) for key, default in zip(("start", "end"), _ALWAYS, strict=True))
    given = {table: _table(text) for table, text in entry["given"].items()}
    return Example(name, entry["name"], path, given, _table(entry["expect"]), start, end)


def _instant(value: Any, default: datetime) -> datetime:
    if value is None:
        return default
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


def _table(text: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.split("|")] for line in str(text or "").splitlines() if line.strip()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]] if lines else []


def _chosen(model: Model, example: Example) -> tuple[Column, ...]:
    named = list(example.expect[0]) if example.expect else list(model.grain)
    return tuple(column for column in model.columns if column.name in named)


def _fill(connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[Column, ...], rows: list[dict[str, str]]) -> None:
    if "." in table:
        connection.execute(f"create schema if not exists {table.split('.')[0]}")
    # Quoted: a column may be a keyword, as "end" is.
    typed = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    connection.execute(f"create table {table} ({typed})")
    types = {column.name: column.type for column in columns}
    for row in rows:
        unknown = [name for name in row if name not in types]
        if unknown:
            raise WarehouseError(f"{table} has no column {', '.join(unknown)}; it has {', '.join(types)}")
        casts = ", ".join(f"cast(? as {types[name]})" for name in row)
        values = [None if value in ("null", "") else value for value in row.values()]
        listed = ", ".join(f'"{name}"' for name in row)
        connection.execute(f"insert into {table} ({listed}) select {casts}", values)


def _differences(connection: duckdb.DuckDBPyConnection, columns: list[str], grain: tuple[str, ...]) -> str:
    keys = [column for column in grain if column in columns] or columns
    listed, order = ", ".join(columns), ", ".join(keys)
    made = connection.execute(f"select {listed} from made order by {order}").fetchall()
    expected = connection.execute(f"select {listed} from expected_rows order by {order}").fetchall()
    lines = [] if len(made) == len(expected) else [f"{len(made)} rows where {len(expected)} are expected"]
    for made_row, expected_row in zip(made, expected, strict=False):
        for column, value, expected_value in zip(columns, made_row, expected_row, strict=True):
            if not _same(value, expected_value):
                place = ", ".join(str(expected_row[columns.index(key)]) for key in keys)
                lines.append(f"({place}) {column}: {value}, expected {expected_value}")
    return "\n".join(lines)


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, float) and isinstance(expected, float):
        return abs(value - expected) <= _TOLERANCE * max(1.0, abs(expected))
    return value == expected
