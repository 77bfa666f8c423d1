"""What of a fetched window may be stored, and what goes to quarantine.

Windows are validated and stored in order, because one is validated by the one before it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.ingest.fetch import FetchRequest, FetchResult
from crossattn_core.candles.ingest.settlements import settlements_called_for
from crossattn_core.candles.lake.day_files import CANDLE_SCHEMA, content_hash, read_day_files, to_table
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import FetchedWindow
from crossattn_core.candles.quality import (
    ValidationResult,
    reject_all,
    validate_candles,
    validate_dividends,
    validate_funding,
)
from crossattn_core.candles.scale import Neighbour, Split
from crossattn_core.days import bounds, days_between
from crossattn_core.experiment import FeedSettings
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset

__all__ = ["validate_result"]

_SAME_SCALE = 0.01
"""Between stored candles and the same ones fetched again; more, for the middle one, means another scale."""
_TWIN_ROWS = 5
"""So many identical candles in a row under two names are no coincidence."""


def validate_result(lake: Lake, feed: Feed, result: FetchResult, settings: FeedSettings) -> FetchedWindow:
    """The fetched rows split into what may be stored and what goes to quarantine."""
    request = result.request
    if request.kind == "candles":
        rescaled = _rescaled(lake, request, result)
        validation = validate_candles(
            result.rows,
            request.asset,
            result.fetched_at,
            nearest=_nearest(lake, request) if rescaled is None else None,
            interval=lake.grid.step,
            splits=result.splits,
            declared=settings.declared(settings.declared_jumps, request.asset) or (),
        )
        twin = _twin(lake, request.asset, validation.accepted)
        if rescaled is not None:
            validation = reject_all(validation, "other_scale", rescaled)
        elif twin is not None:
            validation = reject_all(
                validation, "twin", f"the same candles as {twin}, which was stored first: one of the two is wrong"
            )
    elif request.kind == "dividends":
        validation = validate_dividends(result.rows, request.asset, result.fetched_at)
    else:
        validation = validate_funding(result.rows, result.fetched_at)
    began = _first_candle(lake, request, result, validation)
    result = result if began is None else replace(result, listed=began)
    start, end = bounds(request.first)[0], bounds(request.last)[1]
    return FetchedWindow(
        kind=request.kind,
        asset=request.asset,
        first=request.first,
        last=request.last,
        rows=validation.accepted,
        refused=validation.refused,
        expected=_expected(lake, request, result, validation),
        fetched_until=result.fetched_until,
        fetched_at=result.fetched_at,
        request={
            "feed": feed.kind,
            "after": start.isoformat(),
            "until": min(end, result.fetched_until).isoformat(),
            **feed.origin(request.asset),
            **({} if result.version is None else {"version": result.version}),
            **({} if began is None else {"listed_by_first_candle": began.isoformat()}),
        },
        requests=result.requests,
        retries=result.retries,
    )


def _expected(
    lake: Lake, request: FetchRequest, result: FetchResult, validation: ValidationResult
) -> dict[date, tuple[int, int]]:
    """Day -> (rows called for, of these optional)."""
    opened = bounds(request.first)[0]
    start, stop = opened, result.fetched_until
    if (listed := result.listed) is not None:
        start = max(start, listed)
    if (delisted := result.delisted) is not None:
        stop = min(stop, delisted)
    days = list(days_between(request.first, request.last))
    if request.kind == "dividends":
        return {}  # no calendar promises any
    if request.kind == "funding":
        is_due = {day: start <= bounds(day)[0] and bounds(day)[1] <= stop for day in days}
        around = lake.ledger.coverage("funding", date.min, date.max, asset_id=request.asset.asset_id)
        stored = {date.fromisoformat(row.day): row.rows for row in around if row.rows}
        settled_T = validation.accepted["settled_at"].to_numpy().astype("datetime64[us]")
        called_for = settlements_called_for(days, settled_T, stored, result.funding_interval)
        return {day: (called_for[day] if is_due[day] else 0, 0) for day in days}
    bars = expected_bars(request.asset.calendar, start, stop, lake.grid.step)
    edges = np.array([opened, *(bounds(day)[1] for day in days)], dtype="datetime64[us]")
    cuts = np.searchsorted(bars.closed_T, edges, side="right")
    is_missing_T = ~np.isin(bars.closed_T, validation.accepted["closed_at"].to_numpy().astype("datetime64[us]"))
    # A half day's closing bar that the source lacks was never promised; one that is there counts as expected.
    waived = np.concatenate([[0], np.cumsum(bars.is_optional_T & is_missing_T)])[cuts]
    return {day: (int(cuts[place + 1] - cuts[place]), int(waived[place + 1] - waived[place])) for place, day in enumerate(days)}


def _first_candle(lake: Lake, request: FetchRequest, result: FetchResult, validation: ValidationResult) -> datetime | None:
    """When the asset began to trade by its first candle; none where the source says so, or where one may lie before."""
    if not result.has_empty_past:
        return None
    found = lake.ledger.nearest_file("candles", request.asset.asset_id, request.first, request.last)
    if found is not None and found[1]:
        return None  # something is stored of before: what is missing here is a hole
    if len(validation.accepted):
        return validation.accepted["opened_at"].min().to_pydatetime()
    return None if found is None else read_day_files(lake.folder, [found[0]], CANDLE_SCHEMA)["opened_at"][0].as_py()


def _nearest(lake: Lake, request: FetchRequest) -> Neighbour | None:
    """The stored candle nearest to the request's days: the newest before, or else the oldest after."""
    found = lake.ledger.nearest_file("candles", request.asset.asset_id, request.first, request.last)
    if found is None:
        return None
    day, is_before = found
    table = read_day_files(lake.folder, [day], CANDLE_SCHEMA)
    row = table.num_rows - 1 if is_before else 0
    return Neighbour(table["closed_at"][row].as_py(), table["close"][row].as_py())


def _rescaled(lake: Lake, request: FetchRequest, result: FetchResult) -> str | None:
    """By how much the source has rescaled candles that are stored already, and what to do; none where it has not."""
    days = lake.ledger.coverage("candles", request.first, request.last, asset_id=request.asset.asset_id)
    if not any(row.file for row in days) or result.rows.empty:
        return None
    rows = result.rows.drop_duplicates("closed_at")
    stored = read_day_files(lake.folder, days, CANDLE_SCHEMA)
    key_stored, key_fresh = stored["closed_at"].to_numpy(), rows["closed_at"].to_numpy().astype("datetime64[us]")
    _, at_stored, at_fresh = np.intersect1d(key_stored, key_fresh, assume_unique=True, return_indices=True)
    if not len(at_stored):
        return None
    ratio_T = rows["close"].to_numpy(dtype=float)[at_fresh] / stored["close"].to_numpy()[at_stored]
    ratio = float(np.median(ratio_T[np.isfinite(ratio_T)])) if np.isfinite(ratio_T).any() else 1.0
    if ratio <= 0 or abs(ratio - 1) <= _SAME_SCALE:
        return None
    factor, why = _split_of(ratio, result.splits)
    newest = max(row.day for row in days if row.file)
    after = lake.ledger.nearest_file("candles", request.asset.asset_id, date.max, date.max)
    newest = max(newest, after[0].day) if after is not None else newest
    command = f"crossattn candles rescale {request.asset.symbol} --factor {factor:.10g}"
    return (
        f"stored candles now come with {ratio:.4g} times their price: the source has {why} since; "
        f"'{command} --before {date.fromisoformat(newest) + timedelta(days=1)}' brings the stored history to the new scale, "
        "'crossattn candles retire' sets it aside"
    )


def _split_of(ratio: float, splits: Sequence[Split]) -> tuple[float, str]:
    """(the factor without rounding of prices, what such a change of all prices is), as far as can be told."""
    for split in splits:
        if abs(ratio * split.ratio - 1) < _SAME_SCALE:
            return 1 / split.ratio, f"adjusted for a split of {split.ratio:g} for 1 on {split.at:%Y-%m-%d}"
    larger = max(ratio, 1 / ratio)
    for below in (1, 2, 3):
        simple = round(larger * below) / below
        if larger > 1.2 and abs(larger / simple - 1) < 0.002:
            return simple if ratio > 1 else 1 / simple, "adjusted for a split"
    return ratio, "corrected its prices (by no split's ratio)"


def _twin(lake: Lake, asset: Asset, rows: pd.DataFrame) -> str | None:
    """Another asset whose stored candles are these, recognised by full days (daily candles: by several) at both ends and amid."""
    key_T = rows["closed_at"].to_numpy().astype("datetime64[us]") - np.timedelta64(1, "us")
    day_D, first_D, count_D = np.unique(key_T.astype("datetime64[D]"), return_index=True, return_counts=True)
    days = -(-_TWIN_ROWS // lake.grid.bars_per_day)
    full = [place for place in range(len(day_D) - days + 1) if count_D[place : place + days].sum() >= _TWIN_ROWS]
    if not full:
        return None

    table = to_table(rows, CANDLE_SCHEMA)

    def named(place: int) -> dict[date, str]:
        span = range(place, place + days)
        return {day_D[day].item(): content_hash(table.slice(first_D[day], count_D[day])) for day in span}

    samples = {full[0], full[len(full) // 2], full[-1]}
    return next((twin for place in samples if (twin := lake.ledger.twin("candles", asset.asset_id, named(place)))), None)
