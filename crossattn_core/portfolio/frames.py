"""Instants, assets and numbers of a pandas frame with a column an asset: what targets and markets are made of in a notebook.

Axes: T rows of the frame, N assets.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError

__all__ = ["frame_axes"]


def frame_axes(frame: pd.DataFrame, what: str) -> tuple[NDArray[np.datetime64], tuple[str, ...], NDArray[np.float64]]:
    """(T,) naive UTC instants, the N assets and (T, N) a copy of the numbers, NaN where there is none.

    Args:
        frame: a row an instant, in time order; without a time zone it is UTC.
        what: the frame holds, for messages.

    Raises:
        BacktestError: another kind of frame or of index, rows out of order, columns that repeat or hold no numbers.
    """
    if not isinstance(frame, pd.DataFrame):
        raise BacktestError(f"{what}: a {type(frame).__name__}; give a pandas DataFrame, a row an instant, a column an asset")
    if not isinstance(frame.index, pd.DatetimeIndex) or frame.columns.nlevels > 1:
        raise BacktestError(
            f"{what}: rows are indexed by {type(frame.index).__name__}, columns by {frame.columns.nlevels} levels; "
            "rows are instants (a DatetimeIndex), a column is an asset: pivot a long frame"
        )
    index = frame.index if frame.index.tz is None else frame.index.tz_convert(None)
    if not (index.is_monotonic_increasing and index.is_unique):
        raise BacktestError(f"{what}: rows are not in time order, or repeat; sort the frame by its index and drop what repeats")
    if not frame.columns.is_unique:
        raise BacktestError(f"{what}: columns repeat: {list(frame.columns[frame.columns.duplicated()])[:5]}; keep one of each")
    types = pd.api.types
    wrong = [
        (column, str(held.dtype))
        for column, held in frame.items()
        if types.is_complex_dtype(held) or not (types.is_numeric_dtype(held) or types.is_object_dtype(held))
    ]
    if wrong:
        raise BacktestError(f"{what}: columns that hold no numbers: {wrong[:5]}; drop them")
    try:
        value_TN = np.array(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError) as error:
        raise BacktestError(f"{what}: columns that hold no numbers: {error}; drop them") from error
    return index.to_numpy().astype("datetime64[us]"), tuple(str(column) for column in frame.columns), value_TN
