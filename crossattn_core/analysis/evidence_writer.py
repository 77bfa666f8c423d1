"""Stores evidence, made one day after the other or by a pool."""

from datetime import date
from pathlib import Path
from typing import Any

from crossattn_core.analysis.evidence import Evidence, evidence_as_of
from crossattn_core.analysis.snapshot_store import write_evidence
from crossattn_core.compute.pool import Pool, Task
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.panel.panel import Panel

__all__ = ["EvidenceWriter"]


class EvidenceWriter:
    """Takes the evidence of days and stores it: at once, or with a pool as one task a day, all stored by ``finish``."""

    def __init__(self, folder: Path, experiment: Experiment, panel: Panel, pool: Pool | None = None) -> None:
        self.folder, self.experiment, self.panel, self.pool = folder, experiment, panel, pool
        self._shared: tuple[Any, Any] | None = None
        self._tasks: dict[date, Task] = {}

    def add(self, model: FittedModel, day: date) -> None:
        """What ``model`` and the statistics say of every pair at the end of ``day``; see ``evidence.evidence_as_of``."""
        if self.pool is None:
            self._store(day, evidence_as_of(model, self.panel, day, self.experiment))
            return
        if self._shared is None:
            self._shared = self.pool.share(self.panel.in_memory()), self.pool.share(self.experiment)
        panel, experiment = self._shared
        self._tasks[day] = self.pool.submit(evidence_as_of, model, panel, day, experiment)

    def finish(self) -> None:
        """Wait for the tasks and store what they found.

        Raises:
            Exception: what a task raised; the days before it are stored.
        """
        for day, task in self._tasks.items():
            self._store(day, task.result())
        self._tasks.clear()

    def _store(self, day: date, evidence: Evidence | None) -> None:
        if evidence is not None:
            write_evidence(self.folder, day, evidence)
