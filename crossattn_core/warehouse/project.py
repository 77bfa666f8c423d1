"""What a project of SQL models is: its models, sources, columns, and how they hang together."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.header import Kind, ModelTest, WarmUp
from crossattn_core.warehouse.lineage import Lineage

__all__ = ["MODELS_FOLDER", "RANGE_VARIABLES", "Column", "Model", "Project", "nearest"]

MODELS_FOLDER = Path(__file__).resolve().parents[2] / "dbt_like_sql"


RANGE_VARIABLES = ("start", "end", "warm_start", "bar")
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
    """Sixteen hex digits over the select and what the header sets about running it; prose does not count."""
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
        """The file's text without a closing semicolon, ready to be put inside another statement."""
        return self.sql.rstrip().rstrip(";")

    @property
    def is_stored_by_day(self) -> bool:
        """Whether ``build`` replaces a range of days rather than the whole."""
        return self.kind in ("incremental", "python")


@dataclass(frozen=True)
class Project:
    """All models, in an order in which each comes after what it reads."""

    folder: Path
    models: dict[str, Model]
    sources: dict[str, tuple[Column, ...]]
    sources_sql: str

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def model(self, name: str) -> Model:
        """The model called ``name``; an unknown one is refused with the nearest known."""
        if name not in self.models:
            raise WarehouseError(f"no model {name!r}{nearest(name, self.models)}; known are {', '.join(self.models)}")
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

    def behind_views(self, name: str) -> tuple[str, ...]:
        """The sources and stored models whose rows ``name`` reads through views, sorted."""

        def is_view(table: str) -> bool:
            return table in self.models and self.models[table].kind == "view"

        views = filter(is_view, self.model(name).depends_on)
        read = {table for view in views for table in (*self.model(view).depends_on, *self.behind_views(view))}
        return tuple(sorted(table for table in read if not is_view(table)))

    def downstream(self, name: str) -> tuple[str, ...]:
        """Every model that reads ``name`` (a model or a source), directly or not, in running order."""
        found: set[str] = {name}
        for model in self:
            if found.intersection(model.depends_on):
                found.add(model.name)
        return tuple(model for model in self.models if model in found - {name})


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that looks most like ``name``; empty where none does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
