"""Processes that need not import torch and Dagster anew: each is a fork of one server that did so once.

A fork has environment, folder and descriptors of its own, and an exit code, as a process that starts from nothing.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess

__all__ = ["PROJECT", "forked"]

PROJECT = Path(__file__).parents[1]
_SECONDS = 600


def forked(target: Callable[..., None], *arguments: object, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Call ``target`` with ``arguments`` in a process of its own, in the project's folder, and wait for its end."""
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder) / "output", Path(folder) / "error"
        process = _server().Process(target=_run, args=(target, arguments, dict(environment), output, error))
        process.start()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"{target.__name__}{arguments} took more than {_SECONDS} s")
        return CompletedProcess(arguments, process.exitcode, output.read_text("utf-8"), error.read_text("utf-8"))


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [__name__, "crossattn_pipeline.cli", "crossattn_pipeline.definitions", "crossattn_pipeline.launch"]
    )
    return context


def _run(
    target: Callable[..., None], arguments: tuple[object, ...], environment: dict[str, str], output: Path, error: Path
) -> None:
    for path, stream in ((output, sys.stdout), (error, sys.stderr)):
        with path.open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    target(*arguments)
