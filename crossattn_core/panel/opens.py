"""First trades of the panel's candles, straight from the lake: the panel itself holds closes alone.

Axes: T bars, N assets.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.candles.lake.store import Lake
from crossattn_core.panel.panel import Panel

__all__ = ["open_prices"]


def open_prices(lake: Lake, panel: Panel, days: int) -> NDArray[np.float64]:
    """(T, N) price of the first trade in the candles behind ``trade_price_TN``; NaN where the lake holds none.

    A candle belongs to the first row at or after its close. Where the last close of a row is not the row's trade price, the
    candles are others than the panel's and the row stays NaN.

    Args:
        days: newest ones that are read; rows before them stay NaN.
    """
    open_TN, close_TN = (np.full(panel.trade_price_TN.shape, np.nan) for _ in range(2))
    if not len(panel.as_of_T):
        return open_TN
    last = panel.as_of_T[-1].astype("datetime64[D]").item()
    first = max(panel.as_of_T[0].astype("datetime64[D]").item(), last - timedelta(days=days))
    row_of_first = int(np.searchsorted(panel.as_of_T, np.datetime64(first, "us")))
    for venue in sorted({asset_id.split(":", 1)[0] for asset_id in panel.asset_ids}):
        candles = lake.read_candles(venue, first, last).select(["asset_id", "closed_at", "open", "close"]).to_pandas()
        candles = candles.sort_values("closed_at", kind="stable")
        asset_K = pd.Index(panel.asset_ids).get_indexer(pd.Index(candles["asset_id"]))
        row_K = np.searchsorted(panel.as_of_T, candles["closed_at"].to_numpy("datetime64[us]"))
        placed = candles.assign(row=row_K, asset=asset_K)
        placed = placed[(asset_K >= 0) & (row_K >= row_of_first) & (row_K < len(panel.as_of_T))]
        # Several candles in a row: the first open and the last close.
        for value_TN, column, keep in ((open_TN, "open", "first"), (close_TN, "close", "last")):
            chosen = placed.drop_duplicates(["row", "asset"], keep=keep)
            value_TN[chosen["row"].to_numpy(), chosen["asset"].to_numpy()] = chosen[column].to_numpy()
    return np.where(np.isclose(close_TN, panel.trade_price_TN, rtol=1e-9, atol=0.0), open_TN, np.nan)
