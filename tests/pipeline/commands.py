"""The ``crossattn`` command as a script runs it: a process, its output, its exit code.

A process that starts from nothing imports torch and Dagster for seconds. Here one server imports them once, and each command
is a fork of it with arguments, environment and descriptors of its own.
"""

import multiprocessing
import os
import sys
import tempfile
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess

__all__ = ["PROJECT", "crossattn", "environment_of"]

PROJECT = Path(__file__).parents[2]
_SECONDS = 300


def environment_of(home: Path) -> dict[str, str]:
    """This process's environment, pointed at ``home`` and at nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSATTN", "DAGSTER"))}
    return kept | {"CROSSATTN_HOME": str(home), "COLUMNS": "200"}


def crossattn(*arguments: str, home: Path) -> CompletedProcess[str]:
    """Run the command over ``home`` and wait for its end."""
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder) / "output", Path(folder) / "error"
        command = ("crossattn", *arguments)
        process = _server().Process(target=_main, args=(command, environment_of(home), output, error))
        process.start()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode is not None, f"{' '.join(command)} took more than {_SECONDS} s"
        return CompletedProcess(command, process.exitcode, output.read_text("utf-8"), error.read_text("utf-8"))


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "crossattn_pipeline.cli", "crossattn_pipeline.definitions", "crossattn_pipeline.launch"]
    )
    return context


def _main(command: tuple[str, ...], environment: dict[str, str], output: Path, error: Path) -> None:
    from crossattn_pipeline.cli import main

    for path, stream in ((output, sys.stdout), (error, sys.stderr)):
        with path.open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    sys.argv = list(command)
    main()
