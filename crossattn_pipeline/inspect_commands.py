"""Commands that look without running the graph (leaders, explain, sql), and the two that record an event (retrain, rollback)."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossattn_core.errors import WarehouseError
from crossattn_core.inspections import explain_position
from crossattn_core.report.explain import trace_records, trace_tree
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.walk_forward.overrides import force_retrain, roll_back
from crossattn_core.warehouse.docs import lineage_text, write_docs
from crossattn_core.warehouse.examples import load_examples, run_example
from crossattn_core.warehouse.models import load_project
from crossattn_pipeline.leader_commands import leaders
from crossattn_pipeline.options import AsJson, ExperimentFile, HomeFolder, open_line

__all__ = ["add_inspect_commands"]

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC); else the newest.")]

sql = typer.Typer(no_args_is_help=True, help="The SQL models: their examples, lineage and documentation.")


def add_inspect_commands(app: typer.Typer) -> None:
    """Put the commands of this module under ``app``."""
    app.add_typer(sql, name="sql")
    for command in (leaders, explain, retrain, rollback):
        app.command()(command)


@sql.command("test")
def sql_test() -> None:
    """Run every example of the SQL models: given rows, expected rows."""
    project, console = load_project(), Console(soft_wrap=True)
    failed = 0
    for example in load_examples(project):
        differences = run_example(project, example)
        failed += bool(differences)
        console.print(f"{'failed' if differences else 'passed'}  {example.model}: {example.name}", highlight=False, markup=False)
        if differences:
            console.print(differences, highlight=False, markup=False)
    if failed:
        raise WarehouseError(f"{failed} examples failed; the rows that differ stand above")


@sql.command("lineage")
def sql_lineage(
    column: Annotated[str, typer.Argument(help="schema.model.column, or schema.column where that is unique")],
) -> None:
    """The path from a column down to candle columns."""
    Console(soft_wrap=True).print(lineage_text(load_project(), column), highlight=False, markup=False)


@sql.command("docs")
def sql_docs(path: Annotated[Path, typer.Argument(help="HTML file to write")] = Path("sql.html")) -> None:
    """One static page: graph, search, columns, tests."""
    Console(soft_wrap=True).print(f"{write_docs(load_project(), path.resolve())}", highlight=False)


def explain(
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day of the decision (UTC).")],
    symbol: Annotated[str, typer.Option(help="Symbol of the position.")],
    strategy: Annotated[str, typer.Option(help="Strategy that holds it; champion: the one that is followed.")] = CHAMPION,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Walk from a position to weight, forecast, model, training range, features and candle."""
    line = open_line(experiment, home)
    steps = explain_position(line, date.date(), symbol, strategy)
    if as_json:
        told = {"event": "explained", "day": f"{date:%Y-%m-%d}", "symbol": symbol, "strategy": strategy}
        sys.stdout.write(json.dumps(told | {"steps": trace_records(steps)}) + "\n")
        return
    Console(width=None if sys.stdout.isatty() else 140).print(trace_tree(steps, f"{strategy} {symbol} on {date:%Y-%m-%d}"))


def retrain(
    note: Annotated[str, typer.Option(help="Why; stands in the plan.")],
    day: Day = None,
    rewrite: Annotated[bool, typer.Option(help="Allow a day that was stepped already.")] = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
) -> None:
    """Ask for a retrain at a day's start: a dated event that every later walk replays."""
    line = open_line(experiment, home)
    event = force_retrain(line.home, line.experiment, note, day=day.date() if day else None, rewrite=rewrite)
    Console().print(json.dumps({"event": event.kind, "day": event.day.isoformat(), "note": event.note}), highlight=False)


def rollback(
    note: Annotated[str, typer.Option(help="Why; stands in the plan.")],
    day: Day = None,
    family: Annotated[str, typer.Option(help="Model family that goes back; all when empty.")] = "",
    model: Annotated[str, typer.Option(help="Model to serve, with --family; the one before when empty.")] = "",
    rewrite: Annotated[bool, typer.Option(help="Allow a day that was stepped already.")] = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
) -> None:
    """Put an earlier healthy model back in force from a day on: a dated event that every later walk replays."""
    line = open_line(experiment, home)
    dated = day.date() if day else None
    event = roll_back(line.home, line.experiment, note, family=family, model_id=model, day=dated, rewrite=rewrite)
    told = {"event": event.kind, "day": event.day.isoformat(), "note": event.note}
    told |= {"family": event.family or "all", "model": event.model_id or "the one before"}
    Console().print(json.dumps(told), highlight=False)
