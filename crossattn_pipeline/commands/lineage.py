"""``crossattn lineage``: what a column of any asset is made from, in the terminal or drawn on a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from crossattn_core.errors import WarehouseError
from crossattn_pipeline.commands.options import AsJson, ExperimentFile
from crossattn_pipeline.commands.terminal import Output

__all__ = ["lineage"]


def lineage(
    column: Annotated[str, typer.Argument(help="TABLE.COLUMN or ASSET.COLUMN, for instance marts.positions.target_weight.")] = "",
    experiment: ExperimentFile = None,
    page: Annotated[Path | None, typer.Option(help="HTML file to write: the lineage of every column, drawn.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a column is made from, step by step down to candles and settings; with --page, every column's, drawn."""
    from crossattn_core.stages import stage_table
    from crossattn_core.storage import write_text
    from crossattn_core.warehouse.column_graph import ColumnGraph
    from crossattn_core.warehouse.lineage_page import lineage_page
    from crossattn_core.warehouse.models import load_project
    from crossattn_core.warehouse.traced import as_text
    from crossattn_pipeline.instance import experiment_from

    output = Output(as_json)
    graph = ColumnGraph(stage_table(experiment_from(os.environ, experiment), load_project()))
    if not column and page is None:
        raise WarehouseError(f"name a column, or a --page to write; tables: {', '.join(graph.tables)}")
    if column:
        steps = graph.path(column)
        output.text(as_text(steps))
        for step in steps:
            output.json_line({"event": "column", **vars(step), "assets": graph.keys_of(step.table)})
    if page is not None:
        output.event("page", f"{write_text(page.resolve(), lineage_page(graph))}", path=str(page.resolve()))
