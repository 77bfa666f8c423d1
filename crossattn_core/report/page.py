"""The report: one self-contained HTML page, and the same numbers as JSON and Parquet."""

from dataclasses import dataclass
from pathlib import Path

from crossattn_core.report.inputs import AttentionSummary, ReportInputs

__all__ = ["AttentionSummary", "ReportInputs", "ReportPaths", "build_report"]


@dataclass(frozen=True)
class ReportPaths:
    """Where the report lies."""

    html: Path
    json: Path
    returns: Path


def build_report(inputs: ReportInputs, folder: Path) -> ReportPaths:
    """Write ``report.html``, ``report.json`` and ``returns.parquet`` into ``folder``; equal inputs give equal bytes."""
    raise NotImplementedError
