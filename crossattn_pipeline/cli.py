"""The ``crossattn`` command: the same graph and the same instance as the web UI.

Exit codes: 0 complete, 1 failed (the message says what to do), 2 wrong usage, 3 incomplete (the source lacks
candles), 130 interrupted.
"""

import json
import os
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from crossattn_core.errors import CrossattnError
from crossattn_pipeline.commands.backup import backup, restore
from crossattn_pipeline.commands.candles import add_candle_commands
from crossattn_pipeline.commands.doctor import doctor
from crossattn_pipeline.commands.faults import in_words
from crossattn_pipeline.commands.fetch import fetch
from crossattn_pipeline.commands.inspections import explain, leaders, review
from crossattn_pipeline.commands.lineage import lineage
from crossattn_pipeline.commands.options import ExperimentFile, HomeFolder
from crossattn_pipeline.commands.overrides import overrides, retrain, rollback
from crossattn_pipeline.commands.prune import prune
from crossattn_pipeline.commands.runs import backtest, report, run, stale, train
from crossattn_pipeline.commands.sql import add_sql_commands
from crossattn_pipeline.commands.terminal import COMPLETE, FAILED, INTERRUPTED
from crossattn_pipeline.commands.tune import tune

__all__ = ["app", "main"]

_INTERRUPTED = ("Interrupted", "what was made is kept; the same command goes on from there")
_signals: list[int] = []
"""Interrupts that this process was sent."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def ui(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """The Dagster web UI with its daemons on 127.0.0.1, over the same home."""
    from crossattn_pipeline.ui import serve

    serve(experiment, home, port)


for _command in (
    run,
    stale,
    fetch,
    train,
    backtest,
    report,
    ui,
    review,
    leaders,
    explain,
    lineage,
    retrain,
    rollback,
    tune,
    prune,
    doctor,
    backup,
    restore,
):
    app.command()(_command)
app.add_typer(overrides, name="overrides")
add_candle_commands(app)
add_sql_commands(app)


def main() -> None:
    """Entry point of the ``crossattn`` command: a refusal, or an error of the machine, is one message and no traceback."""
    _open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    code = COMPLETE
    try:
        app()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else FAILED
        if code == INTERRUPTED:
            _fail("interrupted", *_INTERRUPTED)
    except CrossattnError as error:
        code = FAILED
        _fail("failed", type(error).__name__, str(error))
    except Exception as error:
        message = in_words(error)
        if _signals:  # the interrupt was swallowed by an import, which it left half done
            code = INTERRUPTED
            _fail("interrupted", *_INTERRUPTED)
        elif message:
            code = FAILED
            _fail("failed", type(error).__name__, message)
        else:
            raise
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or FAILED  # whoever read the output is gone, or its disk is full
    # Everything is stored by now. An ordinary exit would let DuckDB's binding report, at teardown, leaks that are none.
    os._exit(code)


def _open_streams() -> None:
    """Places for output and error of a process that was started without (``>&-``): else the next file that it opens is one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _interrupt(number: int, _: object) -> None:
    """A termination signal ends a command as Ctrl-C does: while Dagster listens, it records that its run was interrupted."""
    _signals.append(number)
    if signal.getsignal(signal.SIGINT) in (_interrupt, signal.SIG_IGN):  # ignored: started by a shell in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _fail(event: str, name: str, message: str) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"event": event, "error": name, "message": message}) + "\n")
    Console(stderr=True, soft_wrap=True).print(f"{name}: {message}", style="red", highlight=False, markup=False)


if __name__ == "__main__":
    main()
