"""The column lineage as one self-contained page: choose a table or a column, and see what it is made from and what reads it.

Its looks are in templates/lineage.html.j2; it needs no network.
"""

from pathlib import Path
from typing import Any

from crossattn_core.page_templates import page_templates
from crossattn_core.warehouse.column_graph import ColumnGraph
from crossattn_core.warehouse.stored import SETTINGS

__all__ = ["lineage_page"]

_TEMPLATES = page_templates(Path(__file__).parent / "templates")


def lineage_page(graph: ColumnGraph) -> str:
    """The page as HTML; the same graph gives the same text. ``#table``, ``#asset`` and ``#table.column`` choose what is drawn."""
    return _TEMPLATES.get_template("lineage.html.j2").render(tables=_tables(graph), experiment=graph.stages.experiment.name)


def _tables(graph: ColumnGraph) -> list[dict[str, Any]]:
    """Every table with its place in the order of making, its columns, and what each is made from."""
    shown: list[dict[str, Any]] = []
    depths = {SETTINGS: 0}
    sections: set[str] = set()
    for table in graph.tables:
        columns = []
        for column in graph.columns_of(table):
            origins = graph.origins(table, column.name)
            made_from = [] if isinstance(origins, str) else [list(pair) for pair in origins]
            sections |= {name for upstream, name in made_from if upstream == SETTINGS}
            columns.append(_column(column) | {"from": made_from})
        read = {upstream for column in columns for upstream, _ in column["from"] if upstream in depths}
        depths[table] = 1 + max((depths[upstream] for upstream in read), default=-1)
        shown.append({"name": table, "assets": graph.keys_of(table), "depth": depths[table], "columns": columns})
    settings = [_column(column) | {"from": []} for column in graph.columns_of(SETTINGS) if column.name in sections]
    return [{"name": SETTINGS, "assets": [], "depth": 0, "columns": settings}, *shown]


def _column(column: Any) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "unit": column.unit, "is": column.description}
