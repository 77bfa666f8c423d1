"""``crossattn prune``: delete what the experiment's ``retention`` no longer keeps."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output, table_of

__all__ = ["prune"]


def prune(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete runs, logs, weights of models and pages that are older than 'retention' of the experiment keeps them."""
    import dagster as dg

    from crossattn_core.home import check_writable
    from crossattn_pipeline.instance import adopt_instance
    from crossattn_pipeline.run_retention import prune as pruned

    output, line = Output(as_json), open_line(experiment, home)
    settings = line.experiment.retention.model_dump()
    if not any(settings.values()):
        output.event("kept", f"everything is kept: set retention.{', '.join(settings)} in the experiment to keep less", pruned=[])
        return
    check_writable(line.home)
    has_instance = Path(os.environ.get("DAGSTER_HOME") or line.home.dagster).is_dir()
    if has_instance:
        adopt_instance(line.home)
    instance = dg.DagsterInstance.get() if has_instance else None
    try:
        found = pruned(instance, line.home, line.experiment, line.last_day, now=datetime.now(UTC), dry_run=dry_run)
    finally:
        if instance is not None:
            instance.dispose()
    rows = [(row.kind, f"{row.count:,}", f"{row.size_bytes / 1e6:,.1f}") for row in found]
    title = "would go" if dry_run else "deleted"
    output.text(table_of((title, "count", "MB"), rows))
    output.json_line({"event": "pruned", "dry_run": dry_run, "pruned": [vars(row) for row in found]})
