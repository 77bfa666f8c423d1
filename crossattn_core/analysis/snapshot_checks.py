"""Collapse and drift of attention, day by day and regime window by regime window.

Axes: N targets, M sources.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from crossattn_core.analysis.stored_edges import attention_by_day, edge_changes
from crossattn_core.experiment import AnalysisSettings

__all__ = ["CHANGE_COLUMNS", "CHECKS", "CHECK_COLUMNS", "attention_changes", "check_snapshots"]

CHANGE_COLUMNS = ("day", "since_previous", "same_model")
"""Grain: day. Share of attention that moved since the snapshot before, NaN for the first; whether that is of the same model."""

CHECKS = {
    "adds_up": "each target's attention over the others sums to one, or to nothing where it never read",
    "one_source": "no source takes nearly all attention",
    "entropy_low": "attention is not collapsed onto single (source, lag) pairs",
    "entropy_uniform": "attention tells sources and lags apart",
    "jump": "attention is not far from the previous snapshot's",
}
"""Check -> what it claims."""

_ROUNDING = 1e-4
"""How far a sum of stored (single precision) weights may lie from one."""

CHECK_COLUMNS = ("day", "check", "value", "bound", "passed", "why")
"""Grain: (day, check)."""


def attention_changes(snapshots: Iterable[pd.DataFrame], asset_ids: tuple[str, ...]) -> pd.DataFrame:
    """How far attention moved, day by day (``CHANGE_COLUMNS``), from snapshot rows with the quantity 'edge'."""
    changes = edge_changes(attention_by_day(snapshots, asset_ids))
    rows = [(change.now.day, change.since_previous, change.same_model) for change in changes]
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def check_snapshots(snapshots: Iterable[pd.DataFrame], asset_ids: tuple[str, ...], settings: AnalysisSettings) -> pd.DataFrame:
    """Every check of each day (``CHECK_COLUMNS``, ``CHECKS``): weights add up, no collapse, no jump.

    Args:
        snapshots: rows with the quantities 'edge' and 'entropy', and what ``attention_by_day`` needs of cut edges; of ascending
            days.
    """
    rows: list[tuple] = []
    for (day, _, edge_NM, *_, mean), moved, same_model in edge_changes(attention_by_day(snapshots, asset_ids)):
        total_N = edge_NM.sum(axis=1)
        off = float(np.where(total_N > 0, np.abs(total_N - 1), 0.0).max(initial=0.0))
        worst = asset_ids[int(np.abs(np.where(total_N > 0, total_N - 1, 0.0)).argmax())]
        rows.append((day, "adds_up", off, _ROUNDING, off <= _ROUNDING, f"{worst}'s attention is {off:.1e} off a sum of one"))
        received_M = edge_NM.sum(axis=0)
        total = received_M.sum()
        share = float(received_M.max() / total) if total > 0 else float("nan")
        source = asset_ids[int(received_M.argmax())]
        bound = settings.max_source_share
        rows.append((day, "one_source", share, bound, not share > bound, f"{source} takes {share:.0%} of all attention"))
        low, high, why = settings.min_entropy, settings.max_entropy, f"mean entropy {mean:.3f} of its largest value"
        rows.append((day, "entropy_low", mean, low, not mean < low, why))
        rows.append((day, "entropy_uniform", mean, high, not mean > high, why))
        bound, whose = settings.max_change, "the same model" if same_model else "another model"
        why = f"{moved:.0%} of attention moved since the day before, {whose}"
        rows.append((day, "jump", moved, bound, not moved > bound, why))
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS)).astype({"passed": bool})
