"""``crossattn retrain`` and ``rollback``: dated overrides of the walk-forward, which every later walk replays."""

from datetime import datetime
from typing import Annotated

import typer

from crossattn_core.walk_forward.overrides import Override, force_retrain, roll_back
from crossattn_pipeline.commands.options import ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output

__all__ = ["retrain", "rollback"]

Note = Annotated[str, typer.Option(help="Why; the plan shows it.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC); else the first not stepped yet.")]
Rewrite = Annotated[bool, typer.Option("--rewrite", help="Allow a day that was stepped already.")]


def retrain(
    note: Note, day: Day = None, rewrite: Rewrite = False, experiment: ExperimentFile = None, home: HomeFolder = None
) -> None:
    """Record a retrain of every family at a day's start."""
    line = open_line(experiment, home)
    _show(force_retrain(line.home, line.experiment, note, day=day.date() if day else None, rewrite=rewrite))


def rollback(
    note: Note,
    day: Day = None,
    family: Annotated[str, typer.Option(help="Model family that goes back; all when empty.")] = "",
    model: Annotated[str, typer.Option(help="Model to serve, with --family; the one before when empty.")] = "",
    rewrite: Rewrite = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
) -> None:
    """Record that an earlier healthy model is in force from a day on."""
    line = open_line(experiment, home)
    dated = day.date() if day else None
    override = roll_back(line.home, line.experiment, note, family=family, model_id=model, day=dated, rewrite=rewrite)
    _show(override, family=override.family or "all", model=override.model_id or "the one before")


def _show(override: Override, **more: str) -> None:
    Output(as_json=True).event(override.kind, day=override.day, note=override.note, **more)
