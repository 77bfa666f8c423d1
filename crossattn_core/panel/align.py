"""Predictions as arrays on the panel's rows: each value at its instant and asset.

Axes: T bars of the panel, N assets, K rows of the table.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.panel.panel import Panel

__all__ = ["forecast_array", "weight_array"]


def forecast_array(forecasts: pd.DataFrame, panel: Panel, family: str, horizon: int) -> NDArray[np.float32]:
    """(T, N) forecasts of one family and horizon, log returns; NaN where there is none.

    Args:
        forecasts: as_of, asset_id, family, horizon, forecast; rows outside the panel are left out.
    """
    chosen = forecasts[(forecasts["family"] == family) & (forecasts["horizon"] == horizon)]
    return _on_panel(chosen, "forecast", panel)


def weight_array(weights: pd.DataFrame, panel: Panel, family: str) -> NDArray[np.float32] | None:
    """(T, N) weights that one family gives, shares of equity, NaN where there is none; None where it gives none at all.

    Args:
        weights: as_of, asset_id, family, value: predictions of kind 'weight'; rows outside the panel are left out.
    """
    chosen = weights[weights["family"] == family]
    return None if chosen.empty else _on_panel(chosen, "value", panel)


def _on_panel(rows: pd.DataFrame, column: str, panel: Panel) -> NDArray[np.float32]:
    value_TN = np.full(panel.mark_price_TN.shape, np.nan, dtype=np.float32)
    if rows.empty or not len(panel.as_of_T):
        return value_TN
    as_of_K = rows["as_of"].to_numpy("datetime64[us]")
    row_K = np.minimum(np.searchsorted(panel.as_of_T, as_of_K), len(panel.as_of_T) - 1)
    asset_K = pd.Index(panel.asset_ids).get_indexer(pd.Index(rows["asset_id"]))
    inside_K = (panel.as_of_T[row_K] == as_of_K) & (asset_K >= 0)
    value_TN[row_K[inside_K], asset_K[inside_K]] = rows[column].to_numpy(np.float32)[inside_K]
    return value_TN
