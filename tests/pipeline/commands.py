"""The ``crossattn`` command as a script runs it: a process, its output, its exit code."""

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

from tests.forks import forked

__all__ = ["crossattn", "environment_of"]


def environment_of(home: Path) -> dict[str, str]:
    """This process's environment, pointed at ``home`` and at nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSATTN", "DAGSTER"))}
    return kept | {"CROSSATTN_HOME": str(home), "COLUMNS": "200"}


def crossattn(*arguments: str, home: Path) -> CompletedProcess[str]:
    """Run the command over ``home`` and wait for its end."""
    return forked(_main, *arguments, environment=environment_of(home))


def _main(*arguments: str) -> None:
    from crossattn_pipeline.cli import main

    sys.argv = ["crossattn", *arguments]
    main()
