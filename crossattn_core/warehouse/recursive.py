"""Features whose memory has no end: MACD and Wilder's RSI, bit-equal however history is split.

Each month's recursion starts ``WARM_UP_BARS`` bars before the month's first row (all of an asset's history where
there is less), whatever range was asked for. What a longer memory would add is below 1e-16 of the value.

Axes: S segments (one an asset and month), J bars of a segment, warm-up included.
"""

from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["WARM_UP_BARS", "macd_SJ", "recursive_features", "wilder_rsi_SJ"]

WARM_UP_BARS = 500
_FAST, _SLOW, _SIGNAL, _RSI = 12, 26, 9, 14
_CHUNK = 512  # segments at a time: bounds memory at any history


def recursive_features(bars: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """One row a bar with as_of in (start, end].

    Args:
        bars: as_of, asset_id, position, close; for each asset with a bar in the range at least ``WARM_UP_BARS`` bars before
            the month of ``start``, or all that it has.
        start, end: naive UTC.

    Returns:
        as_of, asset_id, position, macd, macd_signal, macd_histogram, rsi_14_wilder (FLOAT, null where too little history).
    """
    ordered = bars.sort_by([("position", "ascending"), ("as_of", "ascending")])
    as_of = ordered["as_of"].to_numpy().astype("datetime64[us]")
    close = ordered["close"].to_numpy()
    position = ordered["position"].to_numpy()
    # The row at a month's first midnight belongs to the month before: a day holds (00:00, 24:00].
    month = (as_of - np.timedelta64(1, "us")).astype("datetime64[M]").astype(np.int64)
    wanted = np.flatnonzero((as_of > np.datetime64(start, "us")) & (as_of <= np.datetime64(end, "us")))
    made = np.full((len(wanted), 4), np.nan)
    if len(wanted):
        is_new_segment = np.flatnonzero(np.diff(position[wanted]) | np.diff(month[wanted])) + 1
        low_S = np.concatenate([[0], is_new_segment])
        high_S = np.concatenate([is_new_segment, [len(wanted)]])
        # First bar of the segment's month, which may lie before the range.
        month_key = position.astype(np.int64) * 100_000 + month
        month_start_S = np.searchsorted(month_key, month_key[wanted[low_S]])
        begin_S = np.maximum(month_start_S - WARM_UP_BARS, np.searchsorted(position, position[wanted[low_S]]))
        for chunk in range(0, len(low_S), _CHUNK):
            part = slice(chunk, chunk + _CHUNK)
            _fill(made, close, wanted, low_S[part], high_S[part], begin_S[part])
    nothing = np.isnan(made)
    columns = {
        name: pa.array(made[:, place].astype(np.float32), mask=nothing[:, place])
        for place, name in enumerate(("macd", "macd_signal", "macd_histogram", "rsi_14_wilder"))
    }
    kept = ordered.take(pa.array(wanted))
    return pa.table({name: kept[name] for name in ("as_of", "asset_id", "position")} | columns)


def macd_SJ(close_SJ: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(macd, signal), price units: exponential means seeded with their first value; NaN for the first 25 (33) bars."""
    macd = _mean_SJ(close_SJ, 2 / (_FAST + 1)) - _mean_SJ(close_SJ, 2 / (_SLOW + 1))
    signal = _mean_SJ(macd, 2 / (_SIGNAL + 1))
    macd[:, : _SLOW - 1] = np.nan
    signal[:, : _SLOW + _SIGNAL - 2] = np.nan
    return macd, signal


def wilder_rsi_SJ(close_SJ: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wilder's RSI (New Concepts in Technical Trading Systems, 1978): the first mean is simple, then 13/14 old and 1/14 new."""
    rsi_SJ = np.full_like(close_SJ, np.nan)
    if close_SJ.shape[1] <= _RSI:
        return rsi_SJ
    change_SJ = np.diff(close_SJ, axis=1)
    gain_SJ = _wilder_SJ(np.maximum(change_SJ, 0))
    loss_SJ = _wilder_SJ(np.maximum(-change_SJ, 0))
    moved_SJ = gain_SJ + loss_SJ
    still_SJ = moved_SJ == 0
    rsi_SJ[:, _RSI:] = np.where(still_SJ, 50.0, 100 * gain_SJ / np.where(still_SJ, 1.0, moved_SJ))
    return rsi_SJ


def _fill(
    made: NDArray[np.float64],
    close: NDArray[np.float64],
    wanted: NDArray[np.int64],
    low_S: NDArray[np.int64],
    high_S: NDArray[np.int64],
    begin_S: NDArray[np.int64],
) -> None:
    last_S = wanted[high_S - 1]
    length = int((last_S - begin_S).max()) + 1
    # Short segments repeat their last bar; nothing behind it is read.
    close_SJ = close[np.minimum(begin_S[:, None] + np.arange(length), last_S[:, None])]
    macd, signal = macd_SJ(close_SJ)
    features = (macd / close_SJ, signal / close_SJ, (macd - signal) / close_SJ, wilder_rsi_SJ(close_SJ))
    for segment, (low, high, begin) in enumerate(zip(low_S, high_S, begin_S, strict=True)):
        places = wanted[low:high] - begin
        for place, feature_SJ in enumerate(features):
            made[low:high, place] = feature_SJ[segment, places]


def _mean_SJ(value_SJ: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    seed_S1 = (1 - weight) * value_SJ[:, :1]
    return lfilter([weight], [1, -(1 - weight)], value_SJ, axis=1, zi=seed_S1)[0]


def _wilder_SJ(move_SJ: NDArray[np.float64]) -> NDArray[np.float64]:
    first_S1 = move_SJ[:, :_RSI].mean(axis=1, keepdims=True)
    keep = (_RSI - 1) / _RSI
    if move_SJ.shape[1] == _RSI:
        return first_S1
    later_SJ = lfilter([1 / _RSI], [1, -keep], move_SJ[:, _RSI:], axis=1, zi=keep * first_S1)[0]
    return np.concatenate([first_S1, later_SJ], axis=1)
