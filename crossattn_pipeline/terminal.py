"""Progress on a terminal as bars, elsewhere as plain lines, for machines as JSON lines."""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from crossattn_core.progress import Progress, Report

__all__ = ["own_output", "reporting"]

_SECONDS_BETWEEN_LINES = 5.0


def own_output(stream: TextIO) -> TextIO:
    """The same place as ``stream`` through a descriptor of its own.

    While a step runs, Dagster points the process's descriptors at its log files: bars would vanish with them.
    """
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8")
    except (OSError, io.UnsupportedOperation):
        return stream  # a stream without a descriptor, which nobody can point elsewhere


@contextmanager
def reporting(console: Console, *, as_json: bool = False) -> Iterator[Report]:
    """A ``Report`` for the length of the block, in the form that the output can show; JSON goes to standard output."""
    if as_json:
        yield _JsonReport(own_output(sys.stdout))
    elif console.is_terminal:
        with Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        ) as bars:
            yield _BarReport(bars)
    else:
        yield _LineReport(console)


class _JsonReport:
    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __call__(self, progress: Progress) -> None:
        self._output.write(json.dumps({"event": "progress", **vars(progress)}) + "\n")
        self._output.flush()


class _Rate(ProgressColumn):
    """Steps a second so far, or seconds a step where they are slower than that."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if not rate else f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")


class _BarReport:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, int] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=progress.total, note="")
        task = self._bars.tasks[self._tasks[progress.stage]].id
        self._bars.update(task, completed=progress.done, total=progress.total, note=progress.note)


class _LineReport:
    """A line when a stage starts, ends, or has been silent for a while."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}
        self._started: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        started = self._started.setdefault(progress.stage, now)
        ended = progress.done >= progress.total
        if not ended and now - self._last.get(progress.stage, 0.0) < _SECONDS_BETWEEN_LINES:
            return
        self._last[progress.stage] = now
        unit = f" {progress.unit}" if progress.unit else ""
        note = f"  {progress.note}" if progress.note else ""
        self._console.print(
            f"{progress.stage:<22} {progress.done}/{progress.total}{unit}  {now - started:.0f} s{note}", highlight=False
        )
