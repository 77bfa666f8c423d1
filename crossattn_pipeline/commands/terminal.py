"""What a command prints: lines, tables and progress for people, JSON lines for machines."""

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from crossattn_core.progress import Progress, Report

__all__ = ["COMPLETE", "FAILED", "INCOMPLETE", "INTERRUPTED", "Output", "own_output", "reporting", "table_of"]

COMPLETE, FAILED, INCOMPLETE, INTERRUPTED = 0, 1, 3, 130
"""Exit codes; 2, wrong usage, is the parser's."""

_SECONDS_BETWEEN_LINES = 5.0
_WIDTH = 160
"""Columns of what is no terminal."""


class Output:
    """Where a command prints: text for people, or (``as_json``) one JSON object a line on standard output and nothing else."""

    def __init__(self, as_json: bool = False, people: TextIO | None = None) -> None:
        """``people``: where their text goes, in place of standard output."""
        self.as_json = as_json
        self._json_lines = own_output(sys.stdout)
        stream = sys.stderr if as_json else people or sys.stdout
        width = shutil.get_terminal_size().columns if stream.isatty() else _WIDTH
        self.console = Console(file=own_output(stream), soft_wrap=True, width=width)

    def text(self, text: RenderableType) -> None:
        """Text, or a table, for people; nothing for machines."""
        if not self.as_json and text:
            self.console.print(text, highlight=False, markup=not isinstance(text, str))  # tables carry their own markup

    def json_line(self, values: Mapping[str, Any]) -> None:
        """One JSON line for machines, instants in ISO 8601; nothing for people."""
        if self.as_json:
            self._json_lines.write(json.dumps(values, default=_plain) + "\n")
            self._json_lines.flush()

    def event(self, event: str, text: RenderableType = "", **values: Any) -> None:
        """``text`` for people, the event's name and ``values`` for machines."""
        self.text(text)
        self.json_line({"event": event, **values})


def table_of(columns: Iterable[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table of written-out cells; long ones fold."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


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


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
