"""The header comment of a model file: what the SQL itself does not hold.

A model file opens with ``/* model`` and YAML: description, grain, kind, time column, warm-up, columns with units,
tests. Everything else (dependencies, order, types, lineage) is read from the SQL.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from crossattn_core.errors import WarehouseError

__all__ = ["ColumnNote", "Header", "Kind", "ModelTest", "Severity", "WarmUp", "described", "read_header", "read_test_header"]

Kind = Literal["view", "table", "incremental", "python"]
Severity = Literal["error", "warn"]
_KINDS = ("view", "table", "incremental", "python")
_HEADER = re.compile(r"\A\s*/\* (?P<what>model|test)[ \t]*\n(?P<yaml>.*?)\*/", re.DOTALL)
_DESCRIBED = re.compile(r"^(?P<text>.+?)\s*\[(?P<unit>[^\[\]]+)\]$", re.DOTALL)
_KEYS = {"description", "grain", "kind", "time_column", "warm_up", "function", "columns", "tests"}
_TEST_KINDS: dict[str, type] = {
    "not_null": list,
    "unique": list,
    "range": dict,
    "expectation": str,
    "relationship": dict,
    "schema": str,
}


@dataclass(frozen=True)
class ColumnNote:
    """The header's note on one column."""

    name: str
    description: str
    unit: str
    type: str | None = None
    """Declared DuckDB type: Python models only, SQL has its own."""
    made_from: tuple[str, ...] = ()
    """Columns of the model's select that a Python model makes it from."""


@dataclass(frozen=True)
class WarmUp:
    """How far before its range a model reads."""

    bars: int
    """Bars of each asset."""
    anchor: Literal["range", "month"] = "range"
    """Counted back from the range's first row, or from the first row of the month that holds it."""
    silent_assets: bool = False
    """Counted for every asset that ever had a row, not only for those with rows in the range."""
    of: str = "aligned.fresh_bars"
    """The model whose rows are counted; it has the columns position and as_of."""


@dataclass(frozen=True)
class ModelTest:
    """One test of a model: declared in its header, or a file under ``tests/`` that selects offending rows."""

    kind: str
    """not_null, unique, range, expectation, relationship, schema (a pandera schema of panel/schemas.py), or sql."""
    argument: Any
    severity: Severity = "error"
    """'warn' tests are reported and stop nothing."""
    sql: str = ""
    """The query of a ``sql`` test."""

    @property
    def name(self) -> str:
        """Short and unique within a model, for instance ``unique(asset_id, as_of)``."""
        if isinstance(self.argument, list):
            return f"{self.kind}({', '.join(map(str, self.argument))})"
        if isinstance(self.argument, dict):
            return f"{self.kind}({', '.join(f'{key}: {value}' for key, value in self.argument.items())})"
        return f"{self.kind}({self.argument})"


@dataclass(frozen=True)
class Header:
    """The parsed header of one model file."""

    description: str
    grain: tuple[str, ...]
    kind: Kind
    time_column: str | None
    columns: tuple[ColumnNote, ...]
    tests: tuple[ModelTest, ...] = ()
    warm_up: WarmUp | None = None
    function: str | None = None
    lines: dict[str, int] = field(default_factory=dict, compare=False)
    """File line of each column's note."""


def described(text: str) -> tuple[str, str] | None:
    """Split ``"traded size [base units]"`` into its description and unit; None where either is missing.

    >>> described("traded size [base units]")
    ('traded size', 'base units')
    """
    matched = _DESCRIBED.match(text.strip())
    return (matched["text"], matched["unit"]) if matched else None


def read_header(path: Path, text: str) -> Header:
    """Parse the header of ``text``.

    Raises:
        WarehouseError: no header, no YAML, an unknown or missing key, a column without description and unit; the
            message starts with file and line.
    """
    declared, lines, first_line = _mapping(path, text, "model")

    def fail(key: str, message: str) -> WarehouseError:
        return WarehouseError(f"{path}:{lines.get(key, first_line)}: {message}")

    for key in declared:
        if key not in _KEYS:
            raise fail(key, f"header key {key!r} is unknown; known are {', '.join(sorted(_KEYS))}")
    for key in ("description", "grain", "kind", "columns"):
        if not declared.get(key):
            raise fail(key, f"the header lacks {key!r}")
    if declared["kind"] not in _KINDS:
        raise fail("kind", f"kind {declared['kind']!r} is unknown; choose from {', '.join(_KINDS)}")
    stored_by_day = declared["kind"] in ("incremental", "python")
    if stored_by_day and not declared.get("time_column"):
        raise fail("kind", f"kind {declared['kind']!r} needs a 'time_column'")
    if (declared["kind"] == "python") != bool(declared.get("function")):
        raise fail("kind", "'function: package.module:name' goes with kind 'python', and only with it")
    columns = tuple(_column(name, note, declared["kind"], fail) for name, note in declared["columns"].items())
    names = {column.name for column in columns}
    for column in [*declared["grain"], *([declared["time_column"]] if declared.get("time_column") else [])]:
        if column not in names:
            raise fail("grain", f"grain and time column name {column!r}, which 'columns' does not describe")
    return Header(
        description=str(declared["description"]).strip(),
        grain=tuple(declared["grain"]),
        kind=declared["kind"],
        time_column=declared.get("time_column"),
        columns=columns,
        tests=tuple(_test(entry, fail) for entry in declared.get("tests") or ()),
        warm_up=_warm_up(declared.get("warm_up"), fail),
        function=declared.get("function"),
        lines=lines,
    )


def read_test_header(path: Path, text: str) -> tuple[str, str, Severity]:
    """(model, description, severity) from the header of a SQL test; errors as ``read_header``."""
    declared, lines, first_line = _mapping(path, text, "test")
    for key in declared:
        if key not in ("model", "description", "severity"):
            raise WarehouseError(f"{path}:{lines.get(key, first_line)}: a test has 'model', 'description' and perhaps 'severity'")
    if not declared.get("model") or not declared.get("description"):
        raise WarehouseError(f"{path}:{first_line}: a test header names its 'model' and has a 'description'")
    return declared["model"], str(declared["description"]).strip(), declared.get("severity", "error")


def _mapping(path: Path, text: str, what: str) -> tuple[dict[str, Any], dict[str, int], int]:
    matched = _HEADER.match(text)
    if matched is None or matched["what"] != what:
        keys = "description, grain, kind, columns" if what == "model" else "model, description"
        raise WarehouseError(f"{path}:1: no header; the file opens with '/* {what}', then YAML ({keys}), then '*/'")
    first_line = text[: matched.start("yaml")].count("\n") + 1
    try:
        declared = yaml.safe_load(matched["yaml"])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = first_line + (mark.line if mark else 0)
        raise WarehouseError(f"{path}:{line}: the header is not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(declared, dict):
        raise WarehouseError(f"{path}:{first_line}: the header is not a mapping; start with 'description:'")
    return declared, _lines_of(matched["yaml"], first_line), first_line


def _column(name: str, note: Any, kind: str, fail: Any) -> ColumnNote:
    if isinstance(note, str):
        note = {"is": note}
    if not isinstance(note, dict) or set(note) - {"is", "type", "from"}:
        raise fail(name, f"column {name}: write a text, or a mapping with 'is', 'type' and 'from'")
    parts = described(str(note.get("is") or ""))
    if parts is None:
        raise fail(name, f'column {name} has no description with a unit; write "what it is [unit]"')
    if kind == "python" and not (note.get("type") and note.get("from")):
        raise fail(name, f"column {name}: a Python model declares 'type' and 'from' (columns of its select) for each column")
    if kind != "python" and len(note) > 1:
        raise fail(name, f"column {name}: 'type' and 'from' are read from the SQL; only a Python model declares them")
    return ColumnNote(name, *parts, type=note.get("type"), made_from=tuple(note.get("from") or ()))


def _warm_up(declared: Any, fail: Any) -> WarmUp | None:
    if declared is None:
        return None
    if (
        not isinstance(declared, dict)
        or set(declared) - {"bars", "anchor", "silent_assets", "of"}
        or not isinstance(declared.get("bars"), int)
    ):
        raise fail("warm_up", "warm_up is a mapping with 'bars' (a number) and perhaps 'anchor', 'silent_assets' and 'of'")
    if declared["bars"] < 1 or declared.get("anchor", "range") not in ("range", "month"):
        raise fail("warm_up", "warm_up: 'bars' is at least 1, 'anchor' is 'range' or 'month'")
    return WarmUp(**declared)


def _test(entry: Any, fail: Any) -> ModelTest:
    declared = dict(entry) if isinstance(entry, dict) else {}
    severity = declared.pop("severity", "error")
    if len(declared) != 1 or next(iter(declared)) not in _TEST_KINDS or severity not in ("error", "warn"):
        known = ", ".join(_TEST_KINDS)
        raise fail("tests", f"test {entry!r} is unknown; write one of {known}, for instance '- unique: [asset_id]'")
    kind, argument = next(iter(declared.items()))
    expected = _TEST_KINDS[kind]
    if not isinstance(argument, expected):
        raise fail("tests", f"test {kind} takes a {expected.__name__}, given {argument!r}")
    return ModelTest(kind, argument, severity)


def _lines_of(header: str, first_line: int) -> dict[str, int]:
    lines: dict[str, int] = {}
    for offset, line in enumerate(header.split("\n")):
        key = line.strip().split(":", 1)[0].lstrip("- ")
        lines.setdefault(key, first_line + offset)
    return lines
