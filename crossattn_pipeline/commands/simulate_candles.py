"""``crossattn candles simulate``: the embedded market as files, in the layout that ``feed.kind: files`` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from crossattn_pipeline.commands.options import AsJson, ExperimentFile
from crossattn_pipeline.commands.terminal import Output

__all__ = ["simulate_candles"]


def simulate_candles(
    into: Annotated[Path, typer.Option(help="The folder that feed.folder names; files of the same name are replaced.")],
    experiment: ExperimentFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the market of feed.simulated over the experiment's assets and period as CSV files; the same bytes every time."""
    from crossattn_core.candles.simulated_folder import write_simulated
    from crossattn_core.experiment import load_experiment
    from crossattn_pipeline.instance import experiment_path

    written = write_simulated(load_experiment(experiment_path(os.environ, experiment)), into)
    message = f"{len(written)} files of simulated candles under {into}"
    Output(as_json).event("simulated", message, files=[str(path) for path in written])
