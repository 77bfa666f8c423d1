"""What the web UI is told of an asset's columns: schema, lineage, a table with links, and where the lineage is drawn.

Dagster's open-source UI shows a schema and draws no column lineage; the page at ``LINEAGE_PATH`` does (webserver.py).
"""

from functools import lru_cache
from typing import Any
from urllib.parse import quote

import dagster as dg
import pandas as pd

from crossattn_core.stages import StageTable
from crossattn_core.warehouse.column_graph import ColumnGraph
from crossattn_core.warehouse.stored import SETTINGS
from crossattn_pipeline.metadata import LINEAGE_PATH, table

__all__ = ["asset_key", "column_lineage", "column_metadata", "lineage_link"]

_NAMED = 3
"""Origins that a column's description spells out; the table has all of them."""


def asset_key(key: str) -> dg.AssetKey:
    """``candles/bybit`` -> the asset key."""
    return dg.AssetKey(key.split("/"))


def lineage_link(stages: StageTable, key: str) -> str:
    """Markdown for the page that draws where an asset's columns come from; empty where it holds no table."""
    if not _graph(stages).tables_of(key):
        return ""
    return f"\n\n[Column lineage of {key}]({LINEAGE_PATH}#{quote(key, safe='')}): drawn beside this UI, which draws none."


def column_metadata(stages: StageTable, key: str) -> dict[str, Any]:
    """Schema, lineage and links of an asset's tables; nothing where it holds none."""
    graph = _graph(stages)
    if not graph.tables_of(key):
        return {}
    return {
        "dagster/column_schema": _schema(graph, key),
        "dagster/column_lineage": column_lineage(stages, key),
        "column_lineage_table": _lineage_table(graph, key),
        "column_lineage_page": dg.MetadataValue.url(f"{LINEAGE_PATH}#{quote(key, safe='')}"),
    }


def column_lineage(stages: StageTable, key: str) -> dg.TableColumnLineage:
    """Column of an asset -> the columns of other assets that it is made from; settings are no asset's."""
    graph = _graph(stages)
    deps = {
        graph.shown_name(name, column.name): [
            dg.TableColumnDep(asset_key=asset_key(upstream), column_name=graph.shown_name(*origin))
            for origin in graph.from_assets(name, column.name)
            for upstream in graph.keys_of(origin[0])
        ]
        for name in graph.tables_of(key)
        for column in graph.columns_of(name)
    }
    return dg.TableColumnLineage(deps_by_column={name: made_from for name, made_from in deps.items() if made_from})


@lru_cache(maxsize=2)
def _graph(stages: StageTable) -> ColumnGraph:
    return ColumnGraph(stages)


def _schema(graph: ColumnGraph, key: str) -> dg.TableSchema:
    columns = []
    for name in graph.tables_of(key):
        for column in graph.columns_of(name):
            named = [_written(graph, *origin) for origin in _origins(graph, name, column.name)]
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            made_from = f" <- {', '.join(named[:_NAMED])}{more}" if named else ""
            text = f"{column.description} [{column.unit}]{made_from}"
            columns.append(dg.TableColumn(graph.shown_name(name, column.name), column.type, description=text))
    return dg.TableSchema(columns=columns)


def _lineage_table(graph: ColumnGraph, key: str) -> dg.MarkdownMetadataValue:
    rows = [
        (
            graph.shown_name(name, column.name),
            column.type,
            column.unit,
            ", ".join(_linked(graph, *origin) for origin in _origins(graph, name, column.name)) or "comes from outside",
        )
        for name in graph.tables_of(key)
        for column in graph.columns_of(name)
    ]
    return table(pd.DataFrame(rows, columns=["column", "type", "unit", "made from"]), rows=200)


def _origins(graph: ColumnGraph, name: str, column: str) -> tuple[tuple[str, str], ...]:
    origins = graph.origins(name, column)
    return () if isinstance(origins, str) else origins


def _written(graph: ColumnGraph, name: str, column: str) -> str:
    """``aligned/bars.close``: asset and column; the first asset where several venues hold the like."""
    keys = graph.keys_of(name)
    return f"{keys[0] if keys else name}.{graph.shown_name(name, column) if keys else column}"


def _linked(graph: ColumnGraph, name: str, column: str) -> str:
    if name == SETTINGS:
        return f"{name}.{column}"
    shown = graph.shown_name(name, column)
    return ", ".join(f"[{key}.{shown}](/assets/{quote(key)})" for key in graph.keys_of(name))
