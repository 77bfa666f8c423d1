"""``crossattn retrain``, ``rollback`` and ``overrides``: dated orders of a person, which every later walk replays."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output, table_of

if TYPE_CHECKING:
    from crossattn_core.walk_forward.overrides import Override

__all__ = ["overrides", "retrain", "rollback"]

overrides = typer.Typer(no_args_is_help=True, help="The recorded retrains and rollbacks: list them, withdraw one.")

Note = Annotated[str, typer.Option(help="Why; the plan shows it.")]
OverrideDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC); else the first not stepped yet.")]
Rewrite = Annotated[bool, typer.Option("--rewrite", help="Allow a day that was stepped already.")]


def retrain(
    note: Note, day: OverrideDay = None, rewrite: Rewrite = False, experiment: ExperimentFile = None, home: HomeFolder = None
) -> None:
    """Record a retrain of every family at a day's start."""
    from crossattn_core.walk_forward.overrides import force_retrain

    line = open_line(experiment, home)
    _show(force_retrain(line.home, line.experiment, note, day=day.date() if day else None, rewrite=rewrite))


def rollback(
    note: Note,
    day: OverrideDay = None,
    family: Annotated[str, typer.Option(help="Model family that goes back; all when empty.")] = "",
    model: Annotated[str, typer.Option(help="Model to serve, with --family; the one before when empty.")] = "",
    rewrite: Rewrite = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
) -> None:
    """Record that an earlier healthy model is in force from a day on."""
    from crossattn_core.walk_forward.overrides import roll_back

    line = open_line(experiment, home)
    dated = day.date() if day else None
    override = roll_back(line.home, line.experiment, note, family=family, model_id=model, day=dated, rewrite=rewrite)
    _show(override, family=override.family or "all", model=override.model_id or "the one before")


@overrides.command("list")
def list_overrides(experiment: ExperimentFile = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Every recorded override by its number, in the order in which they were recorded."""
    from crossattn_core.walk_forward.overrides import read_overrides

    output, recorded = Output(as_json), read_overrides(open_line(experiment, home).home)
    rows = []
    for number, override in enumerate(recorded, start=1):
        models = override.model_id or ("the one before" if override.kind == "rollback" else "")
        rows.append((str(number), str(override.day), override.kind, override.family or "all", models, override.note))
        output.json_line({"event": "override", "number": number, **vars(override)})
    columns = ("number", "day", "kind", "family", "model", "note")
    output.text(table_of(columns, rows) if rows else "no override is recorded; 'crossattn retrain' and 'crossattn rollback' do")


@overrides.command()
def withdraw(
    number: Annotated[int, typer.Argument(min=1, help="Its number in 'crossattn overrides list'.")],
    rewrite: Rewrite = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
) -> None:
    """Take a recorded override back; the numbers of later ones move up. A day that was stepped with it needs --rewrite."""
    from crossattn_core.walk_forward.overrides import withdraw_override

    line = open_line(experiment, home)
    override = withdraw_override(line.home, line.experiment, number, rewrite=rewrite)
    Output(as_json=True).event("withdrawn", kind=override.kind, day=override.day, note=override.note)


def _show(override: Override, **more: str) -> None:
    Output(as_json=True).event(override.kind, day=override.day, note=override.note, **more)
