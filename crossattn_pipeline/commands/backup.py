"""``crossattn backup`` and ``restore``: the home to an object store and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from crossattn_core.errors import BackupError
from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output, reporting

__all__ = ["backup", "restore"]

Place = Annotated[str, typer.Argument(help="s3://bucket/prefix, file:///folder or a folder. Credentials: the AWS_* variables.")]
BackupName = Annotated[str, typer.Option("--backup", help="Its name in --list; the one in force when empty.")]


def backup(
    place: Place,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    verify: Annotated[bool, typer.Option("--verify", help="Send nothing: read a backup and compare it with its hashes.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Send nothing: the names of the backups that are there.")] = False,
    name: BackupName = "",
    as_json: AsJson = False,
) -> None:
    """Send what is new of the home: candles, panel, models, forecasts, weights, reports, receipts, overrides, settings."""
    from crossattn_core.backup.back_up import back_up
    from crossattn_core.backup.destination import open_destination
    from crossattn_core.backup.restore import backups
    from crossattn_core.backup.restore import verify as compare
    from crossattn_pipeline.instance import experiment_path

    if verify and show:
        raise BackupError("--verify and --list are two things; choose one")
    if name and not verify:
        raise BackupError(
            f"--backup {name} names one that is there: add --verify to compare it, or bring it back with 'crossattn restore'"
        )
    output = Output(as_json)
    destination = open_destination(place, os.environ, make=not (verify or show))
    if show:
        for found in backups(destination):
            output.event("backup", found, backup=found)
        return
    with reporting(output.console, as_json=as_json) as report:
        if verify:
            manifest = compare(destination, name, report=report)
            text = f"{manifest.name} is whole: {len(manifest.files)} files"
            output.event("verified", text, backup=manifest.name, files=len(manifest.files))
            return
        line, file = open_line(experiment, home), experiment_path(os.environ, experiment)
        settings = {} if file is None else {file.name: file.read_bytes()}
        done = back_up(line.home, line.lake.folder.parent, destination, line.clock(), settings=settings, report=report)
    sent = f"{done.sent_files} of {done.files} files sent ({done.sent_bytes / 2**20:.1f} MiB)"
    text = f"{done.name}: {sent}" if done.is_new else f"{done.name} holds all of it; nothing was sent"
    output.event("backed_up", text, **vars(done))


def restore(
    place: Place,
    home: Annotated[Path, typer.Argument(help="The home to make: a folder that is empty, or not there.")],
    name: BackupName = "",
    as_json: AsJson = False,
) -> None:
    """Bring a backup back as a home; every file is compared with its hash. Interrupted, the same command goes on."""
    from crossattn_core.backup.destination import open_destination
    from crossattn_core.backup.restore import restore as bring_back

    output = Output(as_json)
    with reporting(output.console, as_json=as_json) as report:
        manifest = bring_back(open_destination(place, os.environ), home.resolve(), name, report=report)
    text = f"{manifest.name}: {len(manifest.files)} files in {home.resolve()}; 'crossattn run' makes the warehouse again"
    output.event("restored", text, backup=manifest.name, files=len(manifest.files), home=str(home.resolve()))
