"""Progress, as stages report it: who renders it (terminal, log, JSON lines) is the caller's business."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Report", "silent"]


@dataclass(frozen=True)
class Progress:
    """One step forward in one stage."""

    stage: str
    done: int
    total: int
    unit: str = ""
    note: str = ""


Report = Callable[[Progress], None]


def silent(report: object) -> None:
    """Report nothing, whatever the report is."""
