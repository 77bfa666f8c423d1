"""Every column of every asset, and what it is made from: marts, results, weights, forecasts, the panel, features, candles.

SQL models tell it by their SQL; what stages store is declared in ``dbt_like_sql/stored.sql``. The source tables in between
(``raw.*``, ``results.*``) hold what is stored under the same names, and are looked through.
"""

from collections.abc import Iterator
from functools import cached_property

import sqlglot
from sqlglot import exp

from crossattn_core.errors import WarehouseError
from crossattn_core.sql_stages import RESULTS, model_key
from crossattn_core.stages import StageTable
from crossattn_core.warehouse.lineage import Lineage, column_lineage
from crossattn_core.warehouse.project import Column, nearest
from crossattn_core.warehouse.sources import MADE_HERE
from crossattn_core.warehouse.stored import FEATURES, SETTINGS, StoredTable, stored_tables
from crossattn_core.warehouse.traced import Step, steps_upstream

__all__ = ["ColumnGraph", "Pair"]

Pair = tuple[str, str]
"""(table, column)."""

_SETTINGS_BEHIND = {
    ("raw.assets", "bar_minutes"): "grid",
    ("raw.assets", "candles_per_bar"): "grid",
    ("raw.assets", "max_age_hours"): "features",
    ("raw.assets", "publication_lag_seconds"): "feed",
    ("raw.sessions", "opened_at"): "grid",
    ("raw.sessions", "closed_at"): "grid",
    ("raw.sessions", "closed_row"): "grid",
    ("raw.sessions", "session"): "grid",
    ("results.settings", "name"): "labels",
    ("results.settings", "value"): "labels",
}
"""Column of a source that no stage fills -> the section of the experiment; the others are the universe's and its calendars'."""


class ColumnGraph:
    """Columns of the tables that assets hold: SQL models (``marts.positions``) and stored tables (``weights``).

    What it found it keeps: keep it for as long as its stages, and ask it again.
    """

    def __init__(self, stages: StageTable) -> None:
        self.stages = stages
        self.stored = stored_tables(stages.project)
        self._origins: dict[Pair, tuple[Pair, ...] | str] = {}
        self._results: dict[str, tuple[str, dict[str, Lineage]]] = {}

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables, each after what it is made from, as far as days do not chain."""
        candles = [name for name, table in self.stored.items() if table.asset.startswith("candles/")]
        reads_results = [model.name for model in self.stages.project if self._reads_results(model.name)]
        models = [model.name for model in self.stages.project if model.name not in reads_results]
        later = [name for name in self.stored if name not in candles and name != "panel"]
        return (*candles, *models, "panel", *later, *reads_results)

    def columns_of(self, table: str) -> tuple[Column, ...]:
        """The columns of a table, with type, unit and description."""
        if table == SETTINGS:
            sections = type(self.stages.experiment).model_fields
            return tuple(Column(name, "section", "settings", f"the experiment's section {name}") for name in sections)
        return self.stored[table].columns if table in self.stored else self.stages.project.model(table).columns

    def keys_of(self, table: str) -> list[str]:
        """Keys of the assets that hold a table."""
        return self._keys.get(table, [])

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        keys = {name: [model_key(name)] for name in self.stages.project.models}
        for name, table in self.stored.items():
            keys[name] = self.stages.keys_of_table(f"raw.{name}") if "<venue>" in table.asset else [table.asset]
        return keys

    def tables_of(self, key: str) -> list[str]:
        """The tables that an asset holds, the one that gives it its name first."""
        return self._tables.get(key, [])

    @cached_property
    def _tables(self) -> dict[str, list[str]]:
        held: dict[str, list[str]] = {}
        for table in self.tables:
            for key in self.keys_of(table):
                held.setdefault(key, []).append(table)
        return held

    def shown_name(self, table: str, column: str) -> str:
        """Name of a column in its asset's schema: an asset's further tables stand before their columns."""
        is_first = all(self.tables_of(key)[0] == table for key in self.keys_of(table))
        return column if is_first else f"{table}.{column}"

    def origins(self, table: str, column: str) -> tuple[Pair, ...] | str:
        """What a column is made from, sorted; ``settings`` stands for a table; none for what comes from outside.

        ``'unresolved'`` where the SQL does not show it.
        """
        if (table, column) not in self._origins:
            self._origins[table, column] = self._found_origins(table, column)
        return self._origins[table, column]

    def _found_origins(self, table: str, column: str) -> tuple[Pair, ...] | str:
        if table == SETTINGS:
            return ()
        if table in self.stored:
            found = set(self._named(self.stored[table], column))
        else:
            made_from: Lineage = self.stages.project.model(table).column_lineage[column]
            if isinstance(made_from, str):
                return made_from
            found = {pair for source in made_from for pair in self._through(*source)}
        return tuple(sorted(found))

    def from_assets(self, table: str, column: str) -> tuple[Pair, ...]:
        """The columns of other assets that a column is made from, through columns of its own asset, sorted; no settings."""
        own, found, seen, waiting = set(self.keys_of(table)), set[Pair](), set[Pair](), [(table, column)]
        while waiting:
            pair = waiting.pop()
            origins = self.origins(*pair)
            for origin in origins if not isinstance(origins, str) and pair not in seen else ():
                if own & set(self.keys_of(origin[0])):
                    waiting.append(origin)
                elif origin[0] != SETTINGS:
                    found.add(origin)
            seen.add(pair)
        return tuple(sorted(found))

    def ends(self, table: str, column: str) -> set[Pair]:
        """Where the way upstream ends: candle columns and settings."""
        return {(step.table, step.column) for step in self.path_from(table, column) if not self.origins(step.table, step.column)}

    def path_from(self, table: str, column: str) -> list[Step]:
        """The columns behind a column, depth first, itself first."""
        return steps_upstream((table, column), self.origins, self._note)

    def path(self, column: str) -> list[Step]:
        """``path_from`` of a column named ``table.column`` or ``asset.column``.

        Raises:
            WarehouseError: no such column; the message names the nearest.
        """
        named = {
            f"{spelling}.{entry.name}": (table, entry.name)
            for table in reversed(self.tables)
            for spelling in (*self.keys_of(table), table)
            for entry in self.columns_of(table)
        }
        if column not in named:
            raise WarehouseError(f"no column {column!r}{nearest(column, named)}; write table.column or asset.column")
        return self.path_from(*named[column])

    def _note(self, table: str, column: str) -> Column:
        return next(entry for entry in self.columns_of(table) if entry.name == column)

    def _reads_results(self, name: str) -> bool:
        project = self.stages.project
        read = {table for model in (*project.upstream(name), name) for table in project.models[model].depends_on}
        return any(table.startswith("results.") for table in read)

    def _named(self, stored: StoredTable, column: str) -> Iterator[Pair]:
        for table, name in stored.origins[column]:
            names = self.stages.experiment.features.names if name == FEATURES else (name,)
            for each in names:
                self._note(table, each)  # it exists
                yield table, each

    def _through(self, table: str, column: str) -> Iterator[Pair]:
        """What a source's column holds: the same column of what is stored, a formula over such, or a section of settings."""
        schema, _, name = table.partition(".")
        if table in self.stages.project.models:
            yield table, column
        elif schema == "results" and table != "results.settings":
            yield from self._of_result(table, column)
        elif name in self.stored and column in MADE_HERE.get(table, {}):
            held = {entry.name for entry in self.stored[name].columns}
            settings = {entry.name for entry in self.stages.project.columns_of("raw.assets")}
            formula = sqlglot.parse_one(MADE_HERE[table][column], dialect="duckdb")
            for read in {found.name for found in formula.find_all(exp.Column)}:
                if read in held:
                    yield name, read
                elif read in settings:
                    yield SETTINGS, _SETTINGS_BEHIND.get(("raw.assets", read), "assets")
        elif name in self.stored:
            yield name, column
        else:
            yield SETTINGS, _SETTINGS_BEHIND.get((table, column), "assets")

    def _of_result(self, table: str, column: str) -> Iterator[Pair]:
        stored, made = self._result(table)
        for _, name in made[column] if not isinstance(made[column], str) else ():
            yield stored, name

    def _result(self, table: str) -> tuple[str, dict[str, Lineage]]:
        """The stored table whose files a ``results.`` table reads, and what each of its columns is made from."""
        if table not in self._results:
            result = next(entry for tables in RESULTS.values() for entry in tables if entry.name == table)
            stored = next(entry for entry in self.stored.values() if entry.files == result.pattern)
            columns = tuple(entry.name for entry in stored.columns)
            select = sqlglot.parse_one(result.rows.format(files="files"), dialect="duckdb")
            made = column_lineage(select, _output_names(select, columns), {"files": columns})
            self._results[table] = (stored.name, made)
        return self._results[table]


def _output_names(select: exp.Expr, columns: tuple[str, ...]) -> list[str]:
    """Names of what ``select ... from files`` gives; ``from files`` alone gives all of it."""
    names: list[str] = []
    for projection in select.expressions or [exp.Star()]:
        names += columns if isinstance(projection, exp.Star) else [projection.alias_or_name]
    return names
