"""Whose CPU a run takes: the stages', Dagster's, or that of what is made beside the stages for Dagster to show.

A timer of the process's CPU interrupts it 200 times a second; the CPU since the interrupt before is booked by the stack:

- to the **stage** whose function (``data_stages``, ``model_stages``) is on it;
- else to the innermost frame that is Dagster's or the project's. A library (SQLAlchemy, json, matplotlib) is booked to whoever
  called it. What Dagster does when an asset's body calls it is Dagster's, the body itself is not. The storage of events, a
  subclass of Dagster's, is Dagster's.

Each CPU second of the process is in one row, what ran before the timer started (imports) too.
"""

import signal
import time
from collections.abc import Iterable
from types import FrameType
from typing import Self

__all__ = ["BESIDE_STAGES", "DAGSTER", "EVENT_LOG", "CpuShares"]

EVENT_LOG = "Dagster's event log"
PLAN_AND_STEPS = "Dagster's definitions, plan and steps"
DAGSTER_IMPORTS = "Dagster's imports"
SHOWN = "metadata, pictures, checks"
REST = "our definitions, staleness, command"
IMPORTS = "other imports (torch, pandas, ...)"

DAGSTER = (EVENT_LOG, PLAN_AND_STEPS, DAGSTER_IMPORTS)
"""Rows that are Dagster's own."""
BESIDE_STAGES = (*DAGSTER, SHOWN, REST, IMPORTS)
"""Rows that are no stage's."""

_SECONDS = 0.005
_STAGE_MODULES = ("crossattn_core.data_stages", "crossattn_core.model_stages")
_STORAGE_MODULES = ("crossattn_pipeline.event_log", "crossattn_pipeline.planned_events", "crossattn_pipeline.postgres_log")
_STORES = ("store_event", "store_event_batch")


class CpuShares:
    """CPU seconds by row, of the process up to the end of the ``with`` block; other threads' go where the main thread is.

    Args:
        stages: names of the stages' functions.
    """

    def __init__(self, stages: Iterable[str]) -> None:
        self._stages = frozenset(stages)
        self.seconds: dict[str, float] = dict.fromkeys(BESIDE_STAGES, 0.0)
        self.in_stages = 0.0
        self._until = 0.0

    def __enter__(self) -> Self:
        self._book(IMPORTS)
        signal.signal(signal.SIGPROF, lambda _, frame: self._book(self.row_of(frame)))
        signal.siginterrupt(signal.SIGPROF, False)  # a library's system call goes on
        signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # one that is under way ends no process
        self._book(REST)

    @property
    def total(self) -> float:
        """All CPU seconds."""
        return self.in_stages + sum(self.seconds.values())

    def row_of(self, frame: FrameType | None) -> str:
        """The row of a stack; ``stage`` inside one."""
        owner, is_import, is_stored, is_asset = "", False, False, False
        while frame is not None:
            module, function = frame.f_globals.get("__name__") or "", frame.f_code.co_name
            if module in _STAGE_MODULES and function in self._stages:
                return "stage"
            if not owner:
                owner = _owner(module)
            is_import |= module == "importlib._bootstrap"
            is_stored |= function in _STORES and _owner(module) == "dagster"
            is_asset |= module.startswith("crossattn_pipeline.assets") and not is_import and function != "<module>"
            frame = frame.f_back
        if is_import:
            return DAGSTER_IMPORTS if owner == "dagster" else IMPORTS
        if owner == "dagster":
            return EVENT_LOG if is_stored else PLAN_AND_STEPS
        return SHOWN if is_asset else REST

    def _book(self, row: str) -> None:
        now = time.process_time()
        if row == "stage":
            self.in_stages += now - self._until
        else:
            self.seconds[row] += now - self._until
        self._until = now


def _owner(module: str) -> str:
    if module.startswith("dagster") or module in _STORAGE_MODULES:
        return "dagster"
    return "crossattn" if module.startswith(("crossattn_", "benchmarks")) else ""
