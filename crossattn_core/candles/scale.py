"""Which candles of a response are on one scale: each against the last accepted ones, both ways in time.

A jump that no price makes splits a response into segments. Kept is the longest chain of segments whose prices agree, from the
stored candle nearest to it where there is one; all others are refused with the factor that they are off by. A split that nobody
adjusted for, a redenomination, days in another unit and a run of bad candles are all found so, and so is which side is wrong
when the mistake comes first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbour", "Split", "on_one_scale"]

_MAX_OPENING_JUMP = np.log(1.25)
"""Between a close and the next bar's open inside one session, as a log return."""
_MAX_JUMP = np.log(1.8)
"""Across a pause, a session's end or a refused candle; as much again is allowed for every ``_SCALE_DAYS`` without candles."""
_SCALE_DAYS = 60.0
_SHORT_SKIP = 24
"""Past so few refused candles the two ends are compared directly; past more, by what each jump between them came to."""
_LOOK_BACK = 400
"""Segments that one may follow; a response of more pieces than that is refused anyway."""


@dataclass(frozen=True)
class Neighbour:
    """The stored candle nearest to a window: the newest before it, or else the oldest after it."""

    closed_at: datetime
    close: float


@dataclass(frozen=True)
class Split:
    """A split by the source's own account: one share became ``ratio`` shares when the session of ``at`` opened (naive UTC)."""

    at: datetime
    ratio: float


def on_one_scale(
    opened_T: NDArray[np.datetime64],
    closed_T: NDArray[np.datetime64],
    open_T: NDArray[np.float64],
    close_T: NDArray[np.float64],
    *,
    nearest: Neighbour | None = None,
    splits: Sequence[Split] = (),
    declared: Collection[date] = (),
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(which candles to keep, the factor that each is off by: 1 where it is kept).

    Args:
        opened_T, closed_T, open_T, close_T: candles in time order, each positive and finite.
        nearest: a stored candle, before or after them.
        splits: what the source itself says; a jump of that size there is unadjusted however small.
        declared: UTC days on which the price really jumps.
    """
    count = len(open_T)
    if not count:
        return np.ones(0, dtype=bool), np.ones(0)
    log_open_T, log_close_T = np.log(open_T), np.log(close_T)
    pause_T = np.maximum((opened_T[1:] - closed_T[:-1]) / np.timedelta64(1, "D"), 0.0)
    jump_T = log_open_T[1:] - log_close_T[:-1]
    is_declared_T = _first_of(closed_T, declared)
    is_split_T = np.zeros(count - 1, dtype=bool)
    for split in splits:
        place = int(np.searchsorted(opened_T, np.datetime64(split.at, "us"))) - 1
        is_split_T[place : place + 1] |= 0 <= place < count - 1 and _is_unadjusted(jump_T[place], split)
    limit_T = np.where(pause_T == 0, _MAX_OPENING_JUMP, _limit(pause_T))
    is_break_T = ((np.abs(jump_T) > limit_T) | is_split_T) & ~is_declared_T[1:]
    stored = _Stored(nearest, splits, opened_T, closed_T, is_declared_T)
    if not is_break_T.any() and stored.agrees(log_open_T[0], log_close_T[-1]):
        return np.ones(count, dtype=bool), np.ones(count)
    # Next to a break each candle stands alone: it may be the one whose open or close is bad.
    at_break = np.flatnonzero(is_break_T)
    cuts = np.unique(np.concatenate([[0, 1, count - 1, count], at_break, at_break + 1, at_break + 2]))
    cuts = cuts[cuts <= count]
    first_S, stop_S = cuts[:-1], cuts[1:]
    # What the jumps at breaks come to: a segment that is back on the scale of an earlier one has the same sum.
    scale_T = np.concatenate([[0.0], np.cumsum(np.where(is_break_T, jump_T, 0.0))])
    hole_T = np.concatenate([[0.0], np.cumsum(np.where(is_break_T, pause_T, 0.0))])
    split_T = np.concatenate([[0], np.cumsum(is_split_T & is_break_T)])
    declared_T = np.cumsum(is_declared_T)
    length_S, before_S = np.zeros(len(first_S)), np.full(len(first_S), -1)
    for place, (first, stop) in enumerate(zip(first_S.tolist(), stop_S.tolist(), strict=True)):
        starts = stored.may_begin(first, float(log_open_T[first]), float(hole_T[first]))
        length_S[place] = stop - first if starts else -np.inf
        oldest = max(place - _LOOK_BACK, 0)
        if oldest == place:
            continue
        last_E = stop_S[oldest:place] - 1
        skipped_E = first - last_E - 1
        limit_E = np.where(skipped_E == 0, limit_T[first - 1], _limit(hole_T[first] - hole_T[last_E]))
        is_direct_E = (skipped_E <= _SHORT_SKIP) & (declared_T[first] == declared_T[last_E])
        off_E = np.where(is_direct_E, log_open_T[first] - log_close_T[last_E], scale_T[first] - scale_T[last_E])
        is_next_E = (np.abs(off_E) <= limit_E) & (split_T[first] == split_T[last_E])
        # Of two chains as long the smoother one.
        longer_E = np.where(is_next_E, length_S[oldest:place] + (stop - first) - 0.01 * np.minimum(np.abs(off_E), 1), -np.inf)
        if longer_E.max() > length_S[place]:
            before_S[place], length_S[place] = oldest + int(longer_E.argmax()), longer_E.max()
    for place, stop in enumerate(stop_S.tolist()):
        if not stored.may_end(stop - 1, float(log_close_T[stop - 1]), float(hole_T[-1] - hole_T[stop - 1])):
            length_S[place] = -np.inf
    keep_T = np.zeros(count, dtype=bool)
    place = int(length_S.argmax())
    while place >= 0 and np.isfinite(length_S[place]):
        keep_T[first_S[place] : stop_S[place]] = True
        place = int(before_S[place])
    return keep_T, _factors(keep_T, log_open_T, log_close_T, nearest)


class _Stored:
    """What the stored candle nearest to a response allows its ends to be."""

    def __init__(
        self,
        nearest: Neighbour | None,
        splits: Sequence[Split],
        opened_T: NDArray[np.datetime64],
        closed_T: NDArray[np.datetime64],
        is_declared_T: NDArray[np.bool_],
    ) -> None:
        self._is_before = self._is_after = False
        if nearest is None:
            return
        at = np.datetime64(nearest.closed_at, "us")
        self._log_close, self._is_before = np.log(nearest.close), bool(at <= closed_T[0])
        self._is_after = not self._is_before
        edge = opened_T[0] if self._is_before else closed_T[-1]
        self._days = abs(float((edge - at) / np.timedelta64(1, "D")))
        self._splits = [split for split in splits if min(at, edge) < np.datetime64(split.at, "us") <= max(at, edge)]
        # A declared jump lies between the two where the response begins on its day, or the stored candle lies on it.
        self._is_declared = bool(is_declared_T[0]) and self._is_before
        self._last = len(opened_T) - 1

    def agrees(self, log_open: float, log_close: float) -> bool:
        """Whether the response as it came may stand next to the stored candle."""
        return self.may_begin(0, log_open, 0.0) and self.may_end(getattr(self, "_last", 0), log_close, 0.0)

    def may_begin(self, place: int, log_open: float, hole: float) -> bool:
        return not self._is_before or self._allows(place == 0, log_open - self._log_close, hole)

    def may_end(self, place: int, log_close: float, hole: float) -> bool:
        return not self._is_after or self._allows(place == self._last, self._log_close - log_close, hole)

    def _allows(self, is_next: bool, jump: float, hole: float) -> bool:
        if self._is_declared:
            return True
        if any(_is_unadjusted(jump, split) for split in self._splits):
            return False
        days = self._days + hole
        return abs(jump) <= (_MAX_OPENING_JUMP if is_next and days == 0 else _limit(days))


def _first_of(closed_T: NDArray[np.datetime64], declared: Collection[date]) -> NDArray[np.bool_]:
    """Whether each candle is the first of a day that is declared."""
    day_T = (closed_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    is_first_T = np.concatenate([[True], day_T[1:] != day_T[:-1]])
    return is_first_T & np.isin(day_T, np.array(sorted(declared), dtype="datetime64[D]"))


def _limit(days: Any) -> Any:
    """Log jump that a pause of so many days may bring."""
    return _MAX_JUMP + np.log1p(np.maximum(days, 0.0) / _SCALE_DAYS)


def _is_unadjusted(jump: float, split: Split) -> bool:
    """Whether a log jump is nearer to the split than to none."""
    return bool(abs(jump + np.log(split.ratio)) < abs(jump))


def _factors(
    keep_T: NDArray[np.bool_], log_open_T: NDArray[np.float64], log_close_T: NDArray[np.float64], nearest: Neighbour | None
) -> NDArray[np.float64]:
    """How many times the price of the kept candle nearest to it (or of the stored one) each refused candle has."""
    factor_T = np.ones(len(keep_T))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], keep_T, [True]]).astype(int)))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        if first > 0:
            off = log_open_T[first] - log_close_T[first - 1]
        elif stop < len(keep_T):
            off = log_close_T[stop - 1] - log_open_T[stop]
        else:
            off = log_open_T[first] - np.log(nearest.close) if nearest is not None else 0.0
        factor_T[first:stop] = np.exp(off)
    return factor_T
