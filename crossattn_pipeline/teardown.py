"""The end of a process that loaded the definitions: nothing is said of leaks that are none."""

import atexit
import os
import sys

__all__ = ["end_quietly"]


def end_quietly() -> None:
    """Let the interpreter's teardown say nothing.

    DuckDB's binding counts its own types among the leaked as long as anything refers to them when the interpreter ends, and
    Dagster keeps loaded definitions to the end. Exit codes, tracebacks and what is printed before the exit are untouched.
    """
    atexit.unregister(_point_nowhere)
    atexit.register(_point_nowhere)


def _point_nowhere() -> None:
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
