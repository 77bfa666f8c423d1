"""What the stages store: the tables of ``dbt_like_sql/stored.sql``, column by column, with what each is made from.

Read for schemas and column lineage; nothing is made from it. The panel holds the columns of ``features.panel_rows``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.header import described
from crossattn_core.warehouse.project import MODELS_FOLDER, Column, Project

__all__ = ["FEATURES", "PANEL", "SETTINGS", "StoredTable", "stored_tables"]

PANEL = "panel"
"""The stored table whose columns the SQL model ``features.panel_rows`` makes."""
SETTINGS = "settings"
"""Stands for a table in what a column is made from: ``settings.costs`` is a section of the experiment."""
FEATURES = "<features>"
"""Stands for the features that an experiment names."""

_PANEL_ROWS = "features.panel_rows"
_HELD = re.compile(r"^-- asset: (?P<asset>\S+?)(; files: (?P<files>\S+))?$")
_OPENED = re.compile(r"^create table (?P<name>\w+) \($")
_COLUMN = re.compile(r"^ {4}\"?(?P<name>\w+)\"? (?P<type>\w+),? *-- (?P<text>[^<]+?)( <- (?P<origins>.+))?$")
_MORE_ORIGINS = re.compile(r"^ {4}-- (<-|  ) (?P<origins>.+)$")
"""A comment on a line of its own goes on with the column above it."""


@dataclass(frozen=True)
class StoredTable:
    """One table that a stage stores."""

    name: str
    asset: str
    """Key of the asset that holds it; ``<venue>`` in it stands for each venue."""
    files: str
    """Glob below the home; empty where no files of its own hold it."""
    columns: tuple[Column, ...]
    origins: dict[str, tuple[tuple[str, str], ...]]
    """Column -> the (table, column) pairs that it is made from, as declared; none where it comes from outside."""


def stored_tables(project: Project, folder: Path = MODELS_FOLDER) -> dict[str, StoredTable]:
    """Name -> table, in the order of the file, the panel last.

    Raises:
        WarehouseError: a line that declares nothing, or a column without description and unit; with file and line.
    """
    path = folder / "stored.sql"
    rows = project.model(_PANEL_ROWS).columns
    panel = StoredTable(
        PANEL, "feature_windows", "panel/days/*.parquet", rows, {row.name: ((_PANEL_ROWS, row.name),) for row in rows}
    )
    return dict(_declared(path, path.read_text(encoding="utf-8"))) | {PANEL: panel}


@lru_cache(maxsize=2)
def _declared(path: Path, text: str) -> tuple[tuple[str, StoredTable], ...]:
    return tuple((table.name, table) for table in _tables(path, text))


def _tables(path: Path, text: str) -> Iterator[StoredTable]:
    held: re.Match[str] | None = None
    name, columns, origins = "", list[Column](), dict[str, tuple[tuple[str, str], ...]]()
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HELD.match(line):
            held = found
        elif opened := _OPENED.match(line):
            name, columns, origins = opened["name"], [], {}
        elif line == ");":
            if held is None or not columns:
                raise WarehouseError(f"{path}:{number}: table {name} has no '-- asset: ...' before it, or no column")
            yield StoredTable(name, held["asset"], held["files"] or "", tuple(columns), origins)
            held, name = None, ""
        elif name and columns and (more := _MORE_ORIGINS.match(line)):
            origins[columns[-1].name] += _pairs(more["origins"])
        elif name:
            declared = _COLUMN.match(line)
            parts = described(declared["text"]) if declared else None
            if declared is None or parts is None:
                raise WarehouseError(f'{path}:{number}: write "name type,  -- what it is [unit] <- table.column, ..."')
            description, unit = parts
            columns.append(Column(declared["name"], declared["type"], unit, description))
            origins[declared["name"]] = _pairs(declared["origins"] or "")
        elif line.strip() and not line.startswith("--"):
            raise WarehouseError(f"{path}:{number}: {line.strip()!r} stands outside a table")


def _pairs(origins: str) -> tuple[tuple[str, str], ...]:
    parted = (origin.strip().partition(".") for origin in origins.split(",") if origin.strip())
    return tuple((table, column) for table, _, column in parted)
