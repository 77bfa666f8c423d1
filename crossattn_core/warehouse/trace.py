"""Following a column upstream, down to the candles that it is made from."""

from dataclasses import dataclass

from crossattn_core.errors import WarehouseError
from crossattn_core.warehouse.lineage import UNRESOLVED
from crossattn_core.warehouse.project import Project, nearest

__all__ = ["Step", "lineage_path", "lineage_text"]


@dataclass(frozen=True)
class Step:
    """One column on the way upstream."""

    depth: int
    """Steps below the column that was asked for, which is at 0."""
    table: str
    column: str
    description: str
    unit: str
    is_repeated: bool = False
    """Its own upstream stands further up already and is not listed again."""
    is_resolved: bool = True
    """False where the SQL does not tell what it is made from."""


def lineage_path(project: Project, column: str) -> list[Step]:
    """The columns behind ``column``, depth first.

    Args:
        column: ``schema.model.column``, or ``schema.column`` for the model of the schema furthest downstream that has it.

    Raises:
        WarehouseError: no such column; the message names the nearest.
    """
    table, name = _found(project, column)
    steps: list[Step] = []
    seen: set[tuple[str, str]] = set()

    def walk(table: str, name: str, depth: int) -> None:
        note = next(column for column in project.columns_of(table) if column.name == name)
        origin = project.models[table].column_lineage[name] if table in project.models else ()
        repeated = (table, name) in seen and bool(origin)
        steps.append(Step(depth, table, name, note.description, note.unit, repeated, origin != UNRESOLVED))
        seen.add((table, name))
        if not repeated and not isinstance(origin, str):
            for upstream_table, upstream_name in origin:
                walk(upstream_table, upstream_name, depth + 1)

    walk(table, name, 0)
    return steps


def lineage_text(project: Project, column: str) -> str:
    """``lineage_path`` as an indented list, one column a line."""
    lines = []
    for step in lineage_path(project, column):
        mark = " (see above)" if step.is_repeated else "" if step.is_resolved else " (unresolved)"
        lines.append(f"{'  ' * step.depth}{step.table}.{step.column}{mark}: {step.description} [{step.unit}]")
    return "\n".join(lines)


def _found(project: Project, column: str) -> tuple[str, str]:
    tables = [*project.sources, *project.models]
    full = {f"{table}.{entry.name}": (table, entry.name) for table in tables for entry in project.columns_of(table)}
    if column in full:
        return full[column]
    # Models stand in running order, so the last one wins: the model furthest downstream.
    short = {
        f"{table.split('.')[0]}.{entry.name}": (table, entry.name) for table in tables for entry in project.columns_of(table)
    }
    if column in short:
        return short[column]
    candidates = short if column.count(".") < 2 else full
    raise WarehouseError(f"no column {column!r}{nearest(column, candidates)}; write schema.model.column or schema.column")
