"""How far attention moved since the newest regime window that ended: the oracle of the mart's column, day by day."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.stored_edges import attention_by_day, moved_share


def since_window(snapshots: pd.DataFrame, asset_ids: tuple[str, ...], windows: pd.DataFrame) -> NDArray[np.float64]:
    """(D,) share that moved against the mean of the newest window that ended on or before the day; NaN without its snapshots."""
    days = list(attention_by_day([snapshots], asset_ids))
    day_D, edge_DNM = np.array([of.day for of in days], dtype="datetime64[us]"), np.stack([of.edge_NM for of in days])
    moved_D = np.full(len(day_D), np.nan)
    for d, day in enumerate(day_D):
        for window in windows[windows["end"] <= pd.Timestamp(day)].tail(1).itertuples():
            inside_D = (day_D >= np.datetime64(window.confirmed)) & (day_D < np.datetime64(window.end))
            if inside_D.any():
                moved_D[d] = moved_share(edge_DNM[inside_D].mean(axis=0), edge_DNM[d])
    return moved_D
