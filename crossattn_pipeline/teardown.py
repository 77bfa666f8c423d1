"""The end of a process that holds definitions and PyTorch: nothing is said of leaks that are none.

DuckDB's binding (nanobind) counts its own types and functions as leaked when anything refers to them after the interpreter has
ended. Dagster keeps the functions of loaded definitions (each record's ``EvalContext`` holds the frame that made it), and with
PyTorch imported what Dagster keeps is never collected. Each of the three is needed::

    # a.py                                            # b.py
    import duckdb, torch                              import dagster as dg
    def f() -> duckdb.DuckDBPyConnection: ...         from a import f
                                                      @dg.definitions
                                                      def defs(): return dg.Definitions()

``python -c "import b"`` prints the dump; without ``torch``, or without the decorator, it does not. nanobind's switch
(``set_leak_warnings``) is for the binding's author, in C++. Listing and validating definitions imports no PyTorch and needs no
silence; a run that fits or loads models does.
"""

import atexit
import os
import sys

__all__ = ["end_quietly"]


def end_quietly() -> None:
    """Let the interpreter's teardown say nothing where PyTorch is loaded by then.

    Exit codes, tracebacks and what is printed before the exit are untouched.
    """
    atexit.unregister(_point_nowhere)
    atexit.register(_point_nowhere)


def _point_nowhere() -> None:
    if "torch" not in sys.modules:
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
