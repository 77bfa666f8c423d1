"""The ``crossattn`` command as a script runs it: a process, its output, its exit code."""

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

from tests.forks import forked

__all__ = ["crossattn", "environment_of", "main", "refused"]


def environment_of(home: Path) -> dict[str, str]:
    """This process's environment, pointed at ``home`` and at nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSATTN", "DAGSTER"))}
    return kept | {"CROSSATTN_HOME": str(home), "COLUMNS": "200"}


def crossattn(*arguments: str, home: Path) -> CompletedProcess[str]:
    """Run the command over ``home`` and wait for its end."""
    return forked(main, *arguments, environment=environment_of(home))


def main(*arguments: str) -> None:
    """The command in this process, which it ends."""
    from crossattn_pipeline import cli

    sys.argv = ["crossattn", *arguments]
    cli.main()


def refused(done: CompletedProcess[str], *says: str, code: int = 1) -> None:
    """The command ended with ``code``, said so much, and showed no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    for text in says:
        assert text in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
