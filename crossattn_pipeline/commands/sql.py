"""``crossattn sql``: the examples of the SQL models, their lineage and their documentation."""

from pathlib import Path
from typing import Annotated

import typer

from crossattn_core.errors import WarehouseError
from crossattn_pipeline.commands.terminal import Output

__all__ = ["add_sql_commands"]

sql = typer.Typer(no_args_is_help=True, help="The SQL models: their examples, lineage and documentation.")


def add_sql_commands(app: typer.Typer) -> None:
    """Put the group ``sql`` under ``app``."""
    app.add_typer(sql, name="sql")


@sql.command("test")
def run_examples() -> None:
    """Run every example of the SQL models: given rows, expected rows."""
    from crossattn_core.warehouse.examples import load_examples, run_example
    from crossattn_core.warehouse.models import load_project

    project, output = load_project(), Output()
    failed = 0
    for example in load_examples(project):
        differences = run_example(project, example)
        failed += bool(differences)
        output.text(f"{'failed' if differences else 'passed'}  {example.model}: {example.name}")
        output.text(differences)
    if failed:
        raise WarehouseError(f"{failed} examples failed; the rows that differ are listed above")


@sql.command("lineage")
def show_lineage(
    column: Annotated[str, typer.Argument(help="schema.model.column, or schema.column where that is unique")],
) -> None:
    """The path from a column down to candle columns."""
    from crossattn_core.warehouse.docs import lineage_text
    from crossattn_core.warehouse.models import load_project

    Output().text(lineage_text(load_project(), column))


@sql.command("docs")
def write_page(path: Annotated[Path, typer.Argument(help="HTML file to write")] = Path("sql.html")) -> None:
    """One static page: graph, search, columns, tests."""
    from crossattn_core.warehouse.docs import write_docs
    from crossattn_core.warehouse.models import load_project

    Output().text(f"{write_docs(load_project(), path.resolve())}")
