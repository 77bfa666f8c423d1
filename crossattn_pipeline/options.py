"""Options that several commands share, and the line that they open."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from crossattn_core.experiment import load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.instance import experiment_path, home_from

__all__ = ["AsJson", "ExperimentFile", "HomeFolder", "open_line"]

ExperimentFile = Annotated[
    Path | None, typer.Option("--experiment", help="Experiment file; else CROSSATTN_EXPERIMENT, else experiments/demo.yaml.")
]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="Home folder; else CROSSATTN_HOME, else .crossattn.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, for machines.")]


def open_line(experiment: Path | None, home: Path | None, symbols: str = "", overrides: dict[str, Any] | None = None) -> Line:
    """The line of the chosen (or the environment's) experiment and home; ``symbols`` narrows the universe.

    Raises:
        ExperimentError, UniverseError, HomeError: as their messages say.
    """
    chosen = load_experiment(experiment_path(os.environ, experiment), overrides)
    names = tuple(name.strip() for name in symbols.split(",") if name.strip())
    chosen = chosen.select(names) if names else chosen
    return Line(chosen, open_home(home_from(os.environ, home), chosen))
