"""Collapse and drift of attention, day by day and regime window by regime window.

Axes: D days, N targets, M sources.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.snapshot_store import edge_matrices
from crossattn_core.experiment import AnalysisSettings

__all__ = ["CHANGE_COLUMNS", "CHECKS", "CHECK_COLUMNS", "attention_changes", "check_snapshots", "moved_share"]

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


def moved_share(before_NM: NDArray[np.float64], after_NM: NDArray[np.float64]) -> float:
    """Half the absolute difference of two edge matrices, averaged over targets that read in both: 0 none, 1 all of it."""
    reads_N = (before_NM.sum(axis=1) > 0) & (after_NM.sum(axis=1) > 0)
    if not reads_N.any():
        return float("nan")
    return float(0.5 * np.abs(after_NM - before_NM)[reads_N].sum(axis=1).mean())


def attention_changes(snapshots: pd.DataFrame, asset_ids: tuple[str, ...]) -> pd.DataFrame:
    """How far attention moved, day by day (``CHANGE_COLUMNS``), from snapshot rows with the quantity 'edge'."""
    day_D, edge_DNM = edge_matrices(snapshots, asset_ids)
    model_by_day = snapshots.drop_duplicates("day").set_index("day")["model_id"]
    rows = []
    for d, day in enumerate(day_D):
        since_previous = moved_share(edge_DNM[d - 1], edge_DNM[d]) if d else float("nan")
        rows.append((day, since_previous, bool(d) and model_by_day.loc[day_D[d - 1]] == model_by_day.loc[day]))
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def check_snapshots(snapshots: pd.DataFrame, asset_ids: tuple[str, ...], settings: AnalysisSettings) -> pd.DataFrame:
    """Every check of each day (``CHECK_COLUMNS``, ``CHECKS``): weights add up, no collapse, no jump.

    Args:
        snapshots: rows with the quantities 'edge' and 'entropy'.
    """
    day_D, edge_DNM = edge_matrices(snapshots, asset_ids)
    entropy = snapshots[snapshots["quantity"] == "entropy"].groupby("day")["value"].mean()
    changes = attention_changes(snapshots[snapshots["quantity"] == "edge"], asset_ids)
    rows: list[tuple] = []
    for d, day in enumerate(day_D):
        total_N = edge_DNM[d].sum(axis=1)
        off = float(np.where(total_N > 0, np.abs(total_N - 1), 0.0).max(initial=0.0))
        worst = asset_ids[int(np.abs(np.where(total_N > 0, total_N - 1, 0.0)).argmax())]
        rows.append((day, "adds_up", off, _ROUNDING, off <= _ROUNDING, f"{worst}'s attention is {off:.1e} off a sum of one"))
        received_M = edge_DNM[d].sum(axis=0)
        total = received_M.sum()
        share = float(received_M.max() / total) if total > 0 else float("nan")
        source = asset_ids[int(received_M.argmax())]
        bound = settings.max_source_share
        rows.append((day, "one_source", share, bound, not share > bound, f"{source} takes {share:.0%} of all attention"))
        mean = float(entropy.get(day, float("nan")))
        low, high, why = settings.min_entropy, settings.max_entropy, f"mean entropy {mean:.3f} of its largest value"
        rows.append((day, "entropy_low", mean, low, not mean < low, why))
        rows.append((day, "entropy_uniform", mean, high, not mean > high, why))
        moved, bound = float(changes["since_previous"].iloc[d]), settings.max_change
        whose = "the same model" if changes["same_model"].iloc[d] else "another model"
        why = f"{moved:.0%} of attention moved since the day before, {whose}"
        rows.append((day, "jump", moved, bound, not moved > bound, why))
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS)).astype({"passed": bool})
