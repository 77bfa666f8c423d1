"""Windows from a pandas frame, as tensors for ``CrossAttentionMultiAsset``.

Axes: S samples (rows with a whole window behind them), N assets, L bars of a window, F features.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["frame_windows"]


def frame_windows(frame: pd.DataFrame, lookback: int = 168) -> Tensor:
    """(S, N, L, F) the window that ends with each row of ``frame`` from row ``lookback - 1`` on, oldest bar first: sample s
    belongs to ``frame.index[s + lookback - 1]`` and holds nothing later.

    Nothing is filled or scaled: NaN stays NaN (``CrossAttentionMultiAsset`` takes such a bar for silent), and what a column is
    divided by must come from training rows alone. The windows share one copy of the frame.

    Args:
        frame: a row a bar, in time order; columns (asset, feature), or one column an asset for a single feature.

    Raises:
        ValueError: fewer rows than ``lookback``; rows out of order; assets with different features.

    >>> closes = pd.DataFrame({"BTC": [1.0, 2.0, 3.0], "ETH": [4.0, 5.0, 6.0]})
    >>> frame_windows(closes, lookback=2)[0, :, :, 0].tolist()
    [[1.0, 2.0], [4.0, 5.0]]
    """
    if not 1 <= lookback <= len(frame):
        raise ValueError(f"a window of {lookback} bars from a frame of {len(frame)} rows; take a lookback of 1..{len(frame)}")
    if not (frame.index.is_monotonic_increasing and frame.index.is_unique):
        raise ValueError("rows are not in time order, or repeat; sort the frame by its index and drop what repeats")
    if frame.columns.nlevels == 1:
        value_TNF = frame.to_numpy(dtype=np.float32)[..., None]
    else:
        assets, features = (list(dict.fromkeys(frame.columns.get_level_values(level))) for level in (0, 1))
        missing = [(asset, feature) for asset in assets for feature in features if (asset, feature) not in frame.columns]
        if missing or frame.columns.nlevels > 2:
            raise ValueError(f"columns must be (asset, feature), every feature of every asset; missing: {missing[:5]}")
        ordered = frame.reindex(columns=pd.MultiIndex.from_product([assets, features]))
        value_TNF = ordered.to_numpy(dtype=np.float32).reshape(len(frame), len(assets), len(features))
    return torch.from_numpy(np.array(value_TNF)).unfold(0, lookback, 1).transpose(2, 3)
