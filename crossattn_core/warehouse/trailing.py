"""Features over many of an asset's bars: sums and deviations of a fixed width, and means whose memory has no end.

Bit-equal however history is split. A sum of a fixed width adds its bars in an order that depends on nothing but the
width. A recursion starts ``WARM_UP_BARS`` bars before the month's first row (before the day's, where bars are shorter than an
hour; all of an asset's history where there is less), whatever range is built; what a longer memory would add is below 1e-16
of the value.

Axes: R bars of all assets, asset after asset; S segments (one an asset and month, or day), J bars of a segment, warm-up included.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["WARM_UP_BARS", "deviation_R", "macd_SJ", "simple_rsi_R", "sum_R", "trailing_features", "wilder_rsi_SJ"]

WARM_UP_BARS = 500
_HOUR = timedelta(hours=1)
_WINDOW = 20
_FAST, _SLOW, _SIGNAL, _RSI = 12, 26, 9, 14
_CHUNK_SEGMENTS, _CHUNK_BARS = 64, 1 << 15  # at a time: what a core's cache holds
_THREADS = 2
_KEYS = ["as_of", "asset_id", "position"]
_READ = ("opened_at", "closed_at", "open", "close", "volume")
_FEATURES = ("relative_volume", "volatility", "rsi_14", "macd", "macd_signal", "macd_histogram", "rsi_14_wilder")


def trailing_features(
    bars: pa.Table, start: datetime, end: datetime, dtype: type = np.float32, *, bar: timedelta = _HOUR
) -> pa.Table:
    """One row a bar with as_of in (start, end], in the order of ``bars``.

    Args:
        bars: as_of, asset_id, position, opened_at, closed_at, open, close, volume; for each asset with a bar in the range at
            least ``WARM_UP_BARS`` bars before the month (the day, see above) of ``start``, or all that it has.
        start, end: naive UTC.
        bar: length of a bar of the grid.
        dtype: FLOAT as the warehouse stores it; double for those who compare before the cast.

    Returns:
        as_of, asset_id, position, then the features, null where an asset has too little history.
    """
    as_of = _values(bars, "as_of")
    is_inside = (as_of > np.datetime64(start, "us")) & (as_of <= np.datetime64(end, "us"))
    order = _by_asset_and_time(_values(bars, "position"), as_of)
    inside = np.flatnonzero(is_inside[order])
    made = {name: np.empty(len(order), dtype=dtype) for name in _FEATURES}
    if len(inside):
        sorted_bars = {name: _values(bars, name)[order] for name in (*_KEYS, *_READ) if name != "asset_id"}
        _windowed(sorted_bars, made)
        _recursive(sorted_bars, inside, made, by_day=bar < _HOUR)
    # Rows leave as they came: in time order, without a sort of their names.
    everything = len(inside) == len(order)
    kept = bars.select(_KEYS) if everything else bars.select(_KEYS).filter(pa.array(is_inside))
    columns = {}
    for name, made_R in made.items():
        values = np.empty_like(made_R)
        values[order] = made_R
        chosen = values if everything else values[is_inside]
        columns[name] = pa.array(chosen, mask=np.isnan(chosen))
    return pa.table({name: kept[name] for name in _KEYS} | columns)


def sum_R(value_R: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sum of the newest ``width`` values at each row, by halves: 20 = 16 + 4, 16 = 8 + 8, ...; the first rows hold fewer.

    >>> sum_R(np.array([1.0, 2.0, 4.0, 8.0, 16.0]), 3)[2:].tolist()
    [7.0, 14.0, 28.0]
    """
    total_R: NDArray[np.float64] | None = None
    part_R, part, taken = value_R, 1, 0
    while True:
        if width & part:
            total_R = part_R.copy() if total_R is None else _added(total_R, part_R, taken)
            taken += part
        if taken == width and total_R is not None:
            return total_R
        part_R, part = _added(part_R, part_R, part), part * 2


def deviation_R(value_R: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sample standard deviation of the newest ``width`` values, about their own mean: no difference of large squares."""
    mean_R = sum_R(value_R, width) / width
    square_R = np.zeros_like(value_R)
    for back in range(min(width, len(value_R)) - 1, -1, -1):
        away_R = value_R[: len(value_R) - back] - mean_R[back:]
        square_R[back:] += away_R * away_R
    return np.sqrt(square_R / (width - 1))


def simple_rsi_R(change_R: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """100 * gains / (gains + losses) over the newest ``width`` changes; 50 where nothing moved."""
    gain_R, loss_R = sum_R(np.maximum(change_R, 0), width), sum_R(np.maximum(-change_R, 0), width)
    return _share(gain_R, loss_R)


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
    if close_SJ.shape[1] > _RSI:
        change_SJ = np.diff(close_SJ, axis=1)
        rsi_SJ[:, _RSI:] = _share(_wilder_SJ(np.maximum(change_SJ, 0)), _wilder_SJ(np.maximum(-change_SJ, 0)))
    return rsi_SJ


def _windowed(bars: dict[str, NDArray], made: dict[str, NDArray]) -> None:
    """Fill in the features of a fixed width; NaN where an asset has too few bars."""
    rows = len(bars["close"])
    first_R = np.flatnonzero(np.diff(bars["position"], prepend=bars["position"][0] - 1))
    number_R = np.arange(rows) - np.repeat(first_R, np.diff(first_R, append=rows))

    def fill(low: int) -> None:
        before = max(low - _WINDOW, 0)
        part, kept = slice(before, low + _CHUNK_BARS), slice(low - before, None)
        number, close, volume = number_R[part], bars["close"][part], bars["volume"][part]
        previous = np.concatenate([close[:1], close[:-1]])
        pause = bars["opened_at"][part] > np.concatenate([bars["closed_at"][part][:1], bars["closed_at"][part][:-1]])
        with np.errstate(invalid="ignore", divide="ignore"):
            log_return = np.log(close / np.where(pause, bars["open"][part], previous))
            mean_volume = sum_R(volume, _WINDOW) / _WINDOW
            # What a row reads of another asset's bars is never kept: its own number says how many are its own.
            features = {
                "relative_volume": np.where((number >= _WINDOW - 1) & (mean_volume > 0), volume / mean_volume, np.nan),
                "volatility": np.where(number >= _WINDOW, deviation_R(log_return, _WINDOW), np.nan),
                "rsi_14": np.where(number >= _RSI, simple_rsi_R(close - previous, _RSI), np.nan),
            }
        for name, values in features.items():
            made[name][low : low + _CHUNK_BARS] = values[kept]

    _each(fill, range(0, rows, _CHUNK_BARS))


def _recursive(bars: dict[str, NDArray], inside: NDArray[np.int64], made: dict[str, NDArray], *, by_day: bool) -> None:
    """Fill in the features without end at the rows ``inside``; NaN where an asset has too few bars."""
    position_R, close_R = bars["position"], bars["close"]
    key_R = position_R.astype(np.int64) * 100_000 + (_day if by_day else _month)(bars["as_of"])
    is_new = np.flatnonzero(np.diff(key_R[inside])) + 1
    # A segment's rows lie side by side: an asset's bars of a month (or day), as far as they lie in the range.
    first_S = inside[np.concatenate([[0], is_new])]
    last_S = inside[np.concatenate([is_new, [len(inside)]]) - 1]
    # First bar of the segment's month (or day), which may lie before the range.
    period_start_S = np.searchsorted(key_R, key_R[first_S])
    begin_S = np.maximum(period_start_S - WARM_UP_BARS, np.searchsorted(position_R, position_R[first_S]))

    def fill(low: int) -> None:
        chunk = slice(low, low + _CHUNK_SEGMENTS)
        length = int((last_S[chunk] - begin_S[chunk]).max()) + 1
        # Short segments repeat their last bar; nothing behind it is read.
        close_SJ = close_R[np.minimum(begin_S[chunk, None] + np.arange(length), last_S[chunk, None])]
        macd, signal = macd_SJ(close_SJ)
        features = {
            "macd": macd / close_SJ,
            "macd_signal": signal / close_SJ,
            "macd_histogram": (macd - signal) / close_SJ,
            "rsi_14_wilder": wilder_rsi_SJ(close_SJ),
        }
        for segment, (first, last, begin) in enumerate(zip(first_S[chunk], last_S[chunk], begin_S[chunk], strict=True)):
            for name, feature_SJ in features.items():
                made[name][first : last + 1] = feature_SJ[segment, first - begin : last + 1 - begin]

    _each(fill, range(0, len(first_S), _CHUNK_SEGMENTS))


def _each(fill: Callable[[int], None], starts: range) -> None:
    """Run every part; parts write side by side, so their order does not matter."""
    if len(starts) == 1:
        fill(starts[0])
        return
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, _THREADS)) as pool:
        list(pool.map(fill, starts))


def _day(as_of_R: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Days since 1970; a day holds (00:00, 24:00]."""
    return (as_of_R - np.timedelta64(1, "us")).astype("datetime64[D]").astype(np.int64)


def _month(as_of_R: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Months since 1970. The row at a month's first midnight belongs to the month before."""
    day_R = _day(as_of_R)
    first = day_R.min()
    # numpy turns a day into a month slowly, so each day is turned once.
    month_of_day = np.arange(first, day_R.max() + 1).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return month_of_day[day_R - first]


def _by_asset_and_time(position: NDArray, as_of: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Row numbers, asset after asset, oldest first; cheap where rows come in time order."""
    narrow = position.astype(np.int16) if len(position) and position.max() < 2**15 else position  # numpy sorts these by radix
    if (as_of[1:] >= as_of[:-1]).all():
        return np.argsort(narrow, kind="stable")
    by_time = np.argsort(as_of, kind="stable")
    return by_time[np.argsort(narrow[by_time], kind="stable")]


def _values(bars: pa.Table, name: str) -> NDArray:
    values = bars[name].to_numpy()
    return values.astype("datetime64[us]", copy=False) if values.dtype.kind == "M" else values


def _added(newer_R: NDArray[np.float64], older_R: NDArray[np.float64], back: int) -> NDArray[np.float64]:
    summed_R = newer_R.copy()
    summed_R[back:] += older_R[: max(len(older_R) - back, 0)]
    return summed_R


def _share(gain: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = gain + loss
    still = moved == 0
    return np.where(still, 50.0, 100 * gain / np.where(still, 1.0, moved))


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
