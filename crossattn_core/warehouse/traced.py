"""A column's way upstream, step by step and as text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from crossattn_core.warehouse.lineage import Lineage
from crossattn_core.warehouse.project import Column

__all__ = ["Step", "as_text", "steps_upstream"]


@dataclass(frozen=True)
class Step:
    """One column on the way upstream."""

    depth: int
    """Steps below the column that is traced, which is at 0."""
    table: str
    column: str
    description: str
    unit: str
    is_repeated: bool = False
    """Its own upstream is listed further up already."""
    is_resolved: bool = True
    """False where the SQL alone does not show what it is made from."""


def steps_upstream(
    start: tuple[str, str], origins: Callable[[str, str], Lineage], note: Callable[[str, str], Column]
) -> list[Step]:
    """The columns behind (table, column) ``start``, depth first, each followed once."""
    steps: list[Step] = []
    seen: set[tuple[str, str]] = set()

    def walk(table: str, name: str, depth: int) -> None:
        noted, origin = note(table, name), origins(table, name)
        is_repeated = (table, name) in seen and bool(origin)
        steps.append(Step(depth, table, name, noted.description, noted.unit, is_repeated, not isinstance(origin, str)))
        seen.add((table, name))
        if not is_repeated and not isinstance(origin, str):
            for upstream_table, upstream_name in origin:
                walk(upstream_table, upstream_name, depth + 1)

    walk(*start, 0)
    return steps


def as_text(steps: Iterable[Step]) -> str:
    """An indented list, one column a line."""
    lines = []
    for step in steps:
        mark = " (see above)" if step.is_repeated else "" if step.is_resolved else " (unresolved)"
        lines.append(f"{'  ' * step.depth}{step.table}.{step.column}{mark}: {step.description} [{step.unit}]")
    return "\n".join(lines)
