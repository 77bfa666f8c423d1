"""Windows from a pandas frame, as tensors for ``CrossAttentionMultiAsset``.

Axes: T rows of the frame, S samples (rows with a whole window behind them), N assets, L bars of a window, F features.
"""

from numbers import Integral

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["frame_windows"]

_NAMES_OF_ASSETS = frozenset({"asset", "assets", "asset_id", "symbol", "symbols", "ticker", "tickers"})


def frame_windows(frame: pd.DataFrame, lookback: int = 168) -> Tensor:
    """(S, N, L, F) the window that ends with each row of ``frame`` from row ``lookback - 1`` on, oldest bar first: sample s
    belongs to ``frame.index[s + lookback - 1]`` and holds nothing later.

    Nothing is filled or scaled: NaN stays NaN (``CrossAttentionMultiAsset`` takes such a bar for silent), and what a column is
    divided by must come from training rows alone. The windows share one copy of the frame.

    Args:
        frame: a row a bar, in time order; columns (asset, feature), or one column an asset for a single feature.

    Raises:
        ValueError: no frame, or a long one; fewer rows than ``lookback``; rows out of order; columns that repeat, hold no
            numbers or an infinite one; assets with different features.

    >>> closes = pd.DataFrame({"BTC": [1.0, 2.0, 3.0], "ETH": [4.0, 5.0, 6.0]})
    >>> frame_windows(closes, lookback=2)[0, :, :, 0].tolist()
    [[1.0, 2.0], [4.0, 5.0]]
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"windows of a {type(frame).__name__}; give a pandas DataFrame, a row a bar and a column an asset")
    _check_rows(frame.index)
    if isinstance(lookback, bool) or not isinstance(lookback, Integral):
        raise ValueError(f"lookback {lookback!r} is no whole number of bars")
    if not 1 <= lookback <= len(frame):
        remedy = f"take a lookback of 1..{len(frame)}" if len(frame) else "there is nothing to window"
        raise ValueError(f"a window of {lookback} bars from a frame of {len(frame)} rows; {remedy}")
    assets, features = _assets_and_features(frame.columns)
    if features is None:
        value_TNF = _numbers(frame)[..., None]
    else:
        ordered = frame.reindex(columns=pd.MultiIndex.from_product([assets, features]))
        value_TNF = _numbers(ordered).reshape(len(frame), len(assets), len(features))
    return torch.from_numpy(value_TNF).unfold(0, int(lookback), 1).transpose(2, 3)


def _check_rows(index: pd.Index) -> None:
    if index.nlevels > 1:
        raise ValueError(
            f"rows are indexed by {index.nlevels} levels {tuple(index.names)}: a long frame; "
            "a row must be a bar: unstack the level of assets into columns"
        )
    if not (index.is_monotonic_increasing and index.is_unique):
        repeated, unknown = int(np.count_nonzero(index.duplicated())), int(np.count_nonzero(index.isna()))
        raise ValueError(
            f"rows are not in time order, or repeat ({repeated} of {len(index)} repeat, {unknown} have no time); sort the frame "
            "by its index and drop what repeats, or, if it has a row an asset, pivot the assets into columns"
        )


def _assets_and_features(columns: pd.Index) -> tuple[list, list | None]:
    """Assets and features in order of appearance; no features where a column is an asset."""
    if not len(columns):
        raise ValueError("the frame has no columns; an asset needs one")
    if not columns.is_unique:
        raise ValueError(f"columns repeat: {list(columns[columns.duplicated()])[:5]}; keep one of each")
    if columns.nlevels == 1:
        return list(columns), None
    if columns.nlevels > 2:
        raise ValueError(f"columns have {columns.nlevels} levels {tuple(columns.names)}; they must be (asset, feature)")
    if str(columns.names[1]).lower() in _NAMES_OF_ASSETS:
        raise ValueError(
            f"columns are {tuple(columns.names)}; they must be (asset, feature): frame.swaplevel(axis=1) turns them round"
        )
    assets, features = (list(dict.fromkeys(columns.get_level_values(level))) for level in (0, 1))
    missing = [(asset, feature) for asset in assets for feature in features if (asset, feature) not in columns]
    if missing:
        raise ValueError(f"columns must be (asset, feature), every feature of every asset; missing: {missing[:5]}")
    return assets, features


def _numbers(frame: pd.DataFrame) -> NDArray[np.float32]:
    """(T, columns) a copy of the frame in single precision."""
    for place, column in enumerate(frame.columns):
        kind = frame.dtypes.iloc[place]
        numeric = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)
        if not numeric and not (pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind)):
            raise ValueError(f"column {column!r} holds {kind}, no numbers; drop it, or make it the index if it is the time")
    try:
        with np.errstate(over="ignore"):  # what single precision cannot hold is infinite, and refused below
            value_TX = np.array(frame.to_numpy(dtype=np.float32))
    except (ValueError, TypeError) as error:
        raise ValueError(f"columns that hold no numbers: {error}; drop them, or make the time the index") from error
    bad_TX = np.isinf(value_TX)
    if bad_TX.any():
        row, column = np.argwhere(bad_TX)[0]
        raise ValueError(
            f"column {frame.columns[column]!r}: {frame.iloc[row, column]} at {frame.index[row]} ({int(bad_TX.sum())} such in "
            "all) is infinite in single precision; make it NaN if the bar is to say nothing"
        )
    return value_TX
