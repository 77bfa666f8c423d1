"""The project for a reader: one static page, and the path of a column upstream down to candles.

The page has search, graph, columns, tests and SQL, and needs no network; its looks are in templates/models.html.j2.
"""

from pathlib import Path

from crossattn_core.errors import WarehouseError
from crossattn_core.page_templates import page_templates
from crossattn_core.storage import write_text
from crossattn_core.warehouse.lineage import Lineage
from crossattn_core.warehouse.project import Column, Project, nearest
from crossattn_core.warehouse.traced import Step, as_text, steps_upstream

__all__ = ["Step", "lineage_path", "lineage_text", "write_docs"]

_BOX, _GAP_X, _GAP_Y = (222, 30), 60, 14
_ORDER = ("staging", "aligned", "features", "marts", "raw", "results")
_TEMPLATES = page_templates(Path(__file__).parent / "templates")


def write_docs(project: Project, path: Path) -> Path:
    """Write the page to ``path``, atomically; the same project gives the same bytes."""
    tables = (*project.models, *project.sources)
    names_by_schema: dict[str, list[str]] = {}
    for name in sorted(tables):
        names_by_schema.setdefault(name.split(".")[0], []).append(name)
    place = _layout(project)
    page = _TEMPLATES.get_template("models.html.j2").render(
        project=project,
        # Schemas in the order in which rows flow.
        schemas=sorted(names_by_schema.items(), key=lambda schema: (*_ORDER, schema[0]).index(schema[0])),
        readers={name: [model.name for model in project if name in model.depends_on] for name in tables},
        place=place,
        box=_BOX,
        size=tuple(max(corner[axis] for corner in place.values()) + _BOX[axis] for axis in (0, 1)),
    )
    return write_text(path, page)


def _layout(project: Project) -> dict[str, tuple[int, int]]:
    """The upper left corner of every table's box: columns by depth, in each beside what is read for fewer crossings."""
    depth = dict.fromkeys(project.sources, 0)
    for model in project:
        depth[model.name] = 1 + max((depth[table] for table in model.depends_on), default=0)
    place: dict[str, tuple[int, int]] = {}

    def mean_height(name: str) -> float:
        read = [place[table][1] for table in project.models[name].depends_on] if name in project.models else []
        return sum(read) / len(read) if read else 0.0

    for level in range(max(depth.values(), default=0) + 1):
        inside = sorted((name for name in depth if depth[name] == level), key=lambda name: (mean_height(name), name))
        place |= {name: (level * (_BOX[0] + _GAP_X), row * (_BOX[1] + _GAP_Y)) for row, name in enumerate(inside)}
    return place


def lineage_path(project: Project, column: str) -> list[Step]:
    """The columns behind ``column``, depth first.

    Args:
        column: ``schema.model.column``, or ``schema.column`` for the model of the schema furthest downstream that has it.

    Raises:
        WarehouseError: no such column; the message names the nearest.
    """

    def origins(table: str, name: str) -> Lineage:
        return project.models[table].column_lineage[name] if table in project.models else ()

    def note(table: str, name: str) -> Column:
        return next(entry for entry in project.columns_of(table) if entry.name == name)

    return steps_upstream(_found(project, column), origins, note)


def lineage_text(project: Project, column: str) -> str:
    """``lineage_path`` as an indented list, one column a line."""
    return as_text(lineage_path(project, column))


def _found(project: Project, column: str) -> tuple[str, str]:
    tables = [*project.sources, *project.models]
    full = {f"{table}.{entry.name}": (table, entry.name) for table in tables for entry in project.columns_of(table)}
    if column in full:
        return full[column]
    # Models are in running order, so the last one wins: the model furthest downstream.
    short = {
        f"{table.split('.')[0]}.{entry.name}": (table, entry.name) for table in tables for entry in project.columns_of(table)
    }
    if column in short:
        return short[column]
    candidates = short if column.count(".") < 2 else full
    raise WarehouseError(f"no column {column!r}{nearest(column, candidates)}; write schema.model.column or schema.column")
