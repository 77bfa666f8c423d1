"""The one resource: the line, opened when a run starts and never at import."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from crossattn_core.candles.feeds.registry import wall_clock
from crossattn_core.experiment import Experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.progress import Progress

__all__ = ["line_resource"]

_SECONDS_BETWEEN_LOGS = 5.0


def line_resource(
    experiment: Experiment, home_root: Path, clock: Callable[[], datetime] = wall_clock
) -> dg.ConfigurableResource[Line]:
    """A resource that opens ``home_root`` for ``experiment`` and logs progress into the run.

    A home that belongs to another experiment fails the step that requires it, with the difference.
    """

    class LineOfHome(dg.ConfigurableResource[Line]):
        """One experiment in one home."""

        home: str = Field(default=str(home_root), description="The home folder; it belongs to one experiment's feed.")

        def create_resource(self, context: dg.InitResourceContext) -> Line:
            return Line(experiment, open_home(Path(self.home), experiment), _LogReport(context.log), clock)

    return LineOfHome()


class _LogReport:
    """A log line when a stage starts, ends, or has been silent for a while: each costs an event."""

    def __init__(self, log: dg.DagsterLogManager | None) -> None:
        self._log = log
        self._last: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        if self._log is None:
            return
        now = time.monotonic()
        if progress.done < progress.total and now - self._last.get(progress.stage, 0.0) < _SECONDS_BETWEEN_LOGS:
            return
        self._last[progress.stage] = now
        self._log.info(f"{progress.stage}: {progress.done}/{progress.total} {progress.unit} {progress.note}".rstrip())
