"""What a candle must be before it is stored. A rule that fails sends the candle to quarantine with its reason.

Nothing is repaired: a candle is kept as it came or refused. Rules look at one candle, at the accepted ones before and after it
(``scale.py``), at the calendar, and at the asset's stored history. When most of a window breaks the calendar, or its prices are
on another scale than the history, the whole window is refused: it is another instrument's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, PRICE_COLUMNS
from crossattn_core.candles.scale import Neighbour, Split, on_one_scale
from crossattn_core.trading_calendar import ALWAYS_OPEN, expected_bars, session_bounds
from crossattn_core.universe import Asset

__all__ = [
    "MAX_FUNDING_RATE",
    "PRICE_ROUNDING",
    "REASONS",
    "Neighbour",
    "ValidationResult",
    "reject_all",
    "validate_candles",
    "validate_dividends",
    "validate_funding",
]

REASONS = {
    "no_instant": "the row has no time, or one from before the venue began; it stands at the time of its neighbour in the file",
    "other_length": "by the spacing of its neighbours it is not as long as the candles that are read",
    "not_a_number": "a price or the volume is missing or infinite",
    "not_positive": "a price is zero or below",
    "negative_volume": "volume or turnover is below zero",
    "ohlc_order": "high is not the highest or low not the lowest of the four prices",
    "not_closed": "the candle ends after the source's clock",
    "off_grid": "no bar of the venue's calendar opens and closes then",
    "outside_session": "the venue is closed then: before its opening or after its closing bell",
    "closing_print": "a print of the closing auction: stamped with the closing bell, no volume of its own",
    "duplicate": "another candle of the same bar came first",
    "turnover_outside_range": "turnover / volume lies outside [low, high]",
    "out_of_proportion": "high or low is beyond three times open and close, or the close beyond five times the open",
    "open_far_from_close": "open or close is far from the candles just before and after",
    "other_scale": "prices are on another scale than the accepted candles: another instrument's or unit, or a split",
    "other_calendar": "much of the response lies outside the venue's sessions: another instrument's",
    "twin": "the same candles are stored under another symbol",
    "not_a_rate": "the funding rate is missing or beyond 10%",
    "not_an_amount": "the dividend is missing, zero, below zero or in another currency than the price",
    "no_session": "no session of the venue's calendar opens at the dividend's instant",
}
"""Reason -> what it means; the keys are stored in the quarantine table."""

MAX_FUNDING_RATE = 0.1
"""Of notional, at one settlement; a larger one is a mistake."""
PRICE_ROUNDING = 1e-9
"""Relative room between high or low and the other prices: sources that adjust prices round each of the four by itself."""
_OTHER_SCALE = (
    "prices are {:.4g} times those of the nearest accepted candle (a split, another unit or another instrument): adjust the "
    "source, retire or rescale the stored history, or declare the day in feed.declared_jumps if the price really jumped"
)
_MAX_WICK, _MAX_BODY = 3.0, 5.0
"""How many times the open and close a high may be (a low: the inverse), and the close the open (or the open the close)."""
_MAX_CLOSED_SHARE = 0.2
"""Candles from when the venue was closed, of a window of ten or more; above it the window is another instrument's."""
_PRE_MARKET, _POST_MARKET = np.timedelta64(330, "m"), np.timedelta64(240, "m")
"""Before the opening and after the closing bell: 04:00 to 20:00 in New York."""
_ROUNDING = 1e-6
"""Relative room for turnover / volume, which sources round."""


@dataclass(frozen=True)
class ValidationResult:
    """Candles that may be stored and candles that may not, each in time order."""

    accepted: pd.DataFrame
    refused: pd.DataFrame
    """``CANDLE_COLUMNS`` plus ``reason`` (a key of ``REASONS``) and ``detail``."""


def validate_candles(
    rows: pd.DataFrame,
    asset: Asset,
    now: datetime,
    *,
    nearest: Neighbour | None = None,
    interval: timedelta = timedelta(hours=1),
    splits: Sequence[Split] = (),
    declared: Collection[date] = (),
) -> ValidationResult:
    """Split a fetched window into what may be stored and what may not.

    Args:
        rows: columns ``CANDLE_COLUMNS``, any order.
        now: the source's clock, naive UTC.
        nearest: the nearest stored candle of the asset, where there is one.
        interval: length of a bar.
        splits: what the source says of splits; a jump of that size is one that it did not adjust for.
        declared: UTC days on which the price really jumps.
    """
    if not rows["closed_at"].is_monotonic_increasing:
        rows = rows.sort_values("closed_at", kind="stable")
    rows = rows.reset_index(drop=True)
    count = len(rows)
    reason_T = np.full(count, "", dtype=object)
    if not count:
        return ValidationResult(rows, _refusal(rows, reason_T))

    def refuse(is_bad_T: NDArray[np.bool_], reason: str) -> None:
        reason_T[is_bad_T & (reason_T == "")] = reason

    prices_T4 = rows[list(PRICE_COLUMNS)].to_numpy(dtype=float)
    volume_T = rows["volume"].to_numpy(dtype=float)
    turnover_T = rows["turnover"].to_numpy(dtype=float)
    closed_T = rows["closed_at"].to_numpy().astype("datetime64[us]")
    opened_T = rows["opened_at"].to_numpy().astype("datetime64[us]")
    open_T, high_T, low_T, close_T = prices_T4.T
    if "fault" in rows:
        reason_T[:] = rows["fault"].to_numpy()
    refuse(~np.isfinite(prices_T4).all(axis=1) | ~np.isfinite(volume_T) | np.isinf(turnover_T), "not_a_number")
    with np.errstate(over="ignore", invalid="ignore"):
        refuse(np.isinf(volume_T * high_T), "not_a_number")
    with np.errstate(invalid="ignore"):
        refuse(np.asarray((prices_T4 <= 0).any(axis=1)), "not_positive")
        refuse((volume_T < 0) | (turnover_T < 0), "negative_volume")
        refuse(closed_T > np.datetime64(now, "us"), "not_closed")
        on_grid_T = _on_grid(opened_T, closed_T, asset, interval)
        if asset.calendar != ALWAYS_OPEN:
            is_at_bell_T, is_shut_T = _relative_to_sessions(opened_T, closed_T, asset.calendar)
            is_print_T = ~on_grid_T & is_at_bell_T & (volume_T == 0)
            refuse(is_print_T, "closing_print")
            is_other_T = is_shut_T & ~is_print_T & ~_is_extended(opened_T, asset.calendar)
            if count >= 10 and is_other_T.mean() > _MAX_CLOSED_SHARE:
                refuse(np.ones(count, dtype=bool), "other_calendar")
            refuse(is_shut_T & ~is_print_T, "outside_session")
        refuse(~on_grid_T, "off_grid")
        is_above_T = prices_T4.max(axis=1) > high_T * (1 + PRICE_ROUNDING)
        is_below_T = prices_T4.min(axis=1) < low_T * (1 - PRICE_ROUNDING)
        refuse(is_above_T | is_below_T | (low_T > high_T), "ohlc_order")
        mean_price_T = np.divide(turnover_T, volume_T, out=np.full(count, np.nan), where=volume_T > 0)
        is_outside_T = (mean_price_T > high_T * (1 + _ROUNDING)) | (mean_price_T < low_T * (1 - _ROUNDING))
        refuse(is_outside_T, "turnover_outside_range")
        top_T, bottom_T = np.maximum(open_T, close_T), np.minimum(open_T, close_T)
        is_wild_T = (high_T > top_T * _MAX_WICK) | (low_T < bottom_T / _MAX_WICK) | (top_T > bottom_T * _MAX_BODY)
        refuse(is_wild_T, "out_of_proportion")
    refuse(_repeats(closed_T, reason_T == ""), "duplicate")
    known = {"nearest": nearest, "splits": splits, "declared": declared}
    details = _refuse_by_scale(reason_T, opened_T, closed_T, open_T, close_T, **known)
    is_good_T = reason_T == ""
    if is_good_T.all():
        return ValidationResult(rows[list(CANDLE_COLUMNS)], _refusal(rows.head(0), reason_T[:0]))
    return ValidationResult(
        rows.loc[is_good_T, list(CANDLE_COLUMNS)].reset_index(drop=True),
        _refusal(rows[~is_good_T], reason_T[~is_good_T], details),
    )


def validate_funding(rows: pd.DataFrame, now: datetime) -> ValidationResult:
    """As ``validate_candles`` for settlements: finite rates below 10%, settled, each instant once.

    The refused rows carry the candle columns (empty) so that one quarantine holds both.
    """
    rate_T = rows["rate"].to_numpy(dtype=float)
    return _validate_payments(
        rows, "settled_at", "rate", now, {"not_a_rate": ~np.isfinite(rate_T) | (np.abs(rate_T) > MAX_FUNDING_RATE)}
    )


def validate_dividends(rows: pd.DataFrame, asset: Asset, now: datetime) -> ValidationResult:
    """As ``validate_funding`` for dividends: amounts above zero, ex when a session opens, each instant once."""
    amount_T, ex_T = rows["amount"].to_numpy(dtype=float), rows["ex_at"].to_numpy().astype("datetime64[us]")
    with np.errstate(invalid="ignore"):
        bad = {"not_an_amount": ~(np.isfinite(amount_T) & (amount_T > 0))}
    if asset.calendar != ALWAYS_OPEN:
        bad["no_session"] = ~np.isin(ex_T, session_bounds(asset.calendar)[0])
    return _validate_payments(rows, "ex_at", "amount", now, bad)


def _validate_payments(
    rows: pd.DataFrame, key: str, value: str, now: datetime, bad: dict[str, NDArray[np.bool_]]
) -> ValidationResult:
    reason_T = rows["fault"].to_numpy().copy() if "fault" in rows else np.full(len(rows), "", dtype=object)
    for reason, is_bad_T in bad.items():
        reason_T[is_bad_T & (reason_T == "")] = reason
    order_T = np.argsort(rows[key].to_numpy(), kind="stable")
    rows, reason_T = rows.iloc[order_T].reset_index(drop=True), reason_T[order_T]
    instant_T = rows[key].to_numpy().astype("datetime64[us]")
    reason_T[(instant_T > np.datetime64(now, "us")) & (reason_T == "")] = "not_closed"
    reason_T[_repeats(instant_T, reason_T == "")] = "duplicate"
    is_good_T = reason_T == ""
    refused = rows[~is_good_T]
    as_candles = pd.DataFrame({name: np.nan for name in (*PRICE_COLUMNS, "volume", "turnover")}, index=refused.index)
    as_candles = as_candles.assign(
        asset_id=refused["asset_id"],
        opened_at=refused[key],
        closed_at=refused[key],
        fetched_at=refused["fetched_at"],
        close=refused[value],
    )
    accepted = rows[is_good_T].drop(columns="fault", errors="ignore").reset_index(drop=True)
    return ValidationResult(accepted, _refusal(as_candles, reason_T[~is_good_T]))


def reject_all(result: ValidationResult, reason: str, detail: str) -> ValidationResult:
    """The result with nothing accepted: what was goes to the refused, for ``reason``."""
    more = result.accepted.assign(reason=reason, detail=detail)
    refused = pd.concat([more, result.refused], ignore_index=True) if len(result.refused) else more
    return ValidationResult(result.accepted.head(0), refused)


def _on_grid(
    opened_T: NDArray[np.datetime64], closed_T: NDArray[np.datetime64], asset: Asset, interval: timedelta
) -> NDArray[np.bool_]:
    step = np.timedelta64(int(interval.total_seconds()), "s").astype("timedelta64[us]")
    if asset.calendar == ALWAYS_OPEN:
        is_aligned_T = (opened_T - np.datetime64("1970-01-01", "us")) % step == np.timedelta64(0, "us")
        return is_aligned_T & (closed_T - opened_T == step)
    start, end = closed_T.min() - step, closed_T.max() + step
    bars = expected_bars(asset.calendar, start.item(), end.item(), interval)
    if not len(bars):
        return np.zeros(len(closed_T), dtype=bool)
    place_T = np.minimum(np.searchsorted(bars.closed_T, closed_T), len(bars) - 1)
    return (bars.closed_T[place_T] == closed_T) & (bars.opened_T[place_T] == opened_T)


def _relative_to_sessions(
    opened_T: NDArray[np.datetime64], closed_T: NDArray[np.datetime64], calendar: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a candle opens with a closing bell; whether the venue is shut for all of it."""
    opens_S, closes_S = session_bounds(calendar)
    ended_T = np.searchsorted(closes_S, opened_T, side="right")
    next_open_T = opens_S[np.minimum(ended_T, len(opens_S) - 1)]
    return np.isin(opened_T, closes_S), (next_open_T >= closed_T) | (ended_T == len(opens_S))


def _is_extended(opened_T: NDArray[np.datetime64], calendar: str) -> NDArray[np.bool_]:
    """Whether a candle opens in the hours before or after a session in which shares trade elsewhere."""
    opens_S, closes_S = session_bounds(calendar)
    next_S = np.minimum(np.searchsorted(opens_S, opened_T, side="right"), len(opens_S) - 1)
    before_S = np.maximum(np.searchsorted(closes_S, opened_T, side="right") - 1, 0)
    is_early_T = (opens_S[next_S] > opened_T) & (opens_S[next_S] - opened_T <= _PRE_MARKET)
    return is_early_T | ((opened_T >= closes_S[before_S]) & (opened_T - closes_S[before_S] < _POST_MARKET))


def _repeats(closed_T: NDArray[np.datetime64], is_good_T: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Good rows (in time order) whose instant an earlier good row has."""
    places = np.flatnonzero(is_good_T)
    repeats_T = np.zeros(len(closed_T), dtype=bool)
    repeats_T[places[1:]] = closed_T[places[1:]] == closed_T[places[:-1]]
    return repeats_T


def _refuse_by_scale(
    reason_T: NDArray[np.object_],
    opened_T: NDArray[np.datetime64],
    closed_T: NDArray[np.datetime64],
    open_T: NDArray[np.float64],
    close_T: NDArray[np.float64],
    **known: Any,
) -> dict[int, str]:
    """Refuse the good rows that are on another scale; row -> what is said of it."""
    places = np.flatnonzero(reason_T == "")
    keep_G, factor_G = on_one_scale(opened_T[places], closed_T[places], open_T[places], close_T[places], **known)
    if keep_G.all():
        return {}
    is_alone_G = ~keep_G & np.concatenate([[True], keep_G[:-1]]) & np.concatenate([keep_G[1:], [True]]) & keep_G.any()
    reason_T[places[is_alone_G]] = "open_far_from_close"
    is_run_G = ~keep_G & ~is_alone_G
    reason_T[places[is_run_G]] = "other_scale"
    return {int(place): _OTHER_SCALE.format(factor) for place, factor in zip(places[is_run_G], factor_G[is_run_G], strict=True)}


def _refusal(rows: pd.DataFrame, reason_T: NDArray[np.object_], details: Mapping[int, str] | None = None) -> pd.DataFrame:
    refused = rows.drop(columns="fault", errors="ignore")
    refused["reason"] = reason_T
    said = details or {}
    refused["detail"] = [said.get(row, REASONS[reason]) for row, reason in zip(rows.index.tolist(), reason_T, strict=True)]
    return refused.reset_index(drop=True)
