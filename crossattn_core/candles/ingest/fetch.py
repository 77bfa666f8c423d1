"""One request to a feed: which days still need fetching, what came back, what of it may be stored.

Fetching may run in parallel; validating and storing happen in order, because a window is validated by the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import KEYS, Feed
from crossattn_core.candles.ingest.settlements import MAX_LATE, on_the_hour, settlements_called_for
from crossattn_core.candles.lake.day_files import CANDLE_SCHEMA, content_hash, read_day_files, to_table
from crossattn_core.candles.lake.ledger import iso
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
from crossattn_core.days import bounds, day_of, days_between, to_naive
from crossattn_core.experiment import FeedSettings
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset, Kind

__all__ = [
    "FetchRequest",
    "FetchResult",
    "day_windows",
    "days_beyond_reach",
    "fetch",
    "plan_requests",
    "validate_result",
]

_FRESH = timedelta(hours=6)
"""What was fetched so recently is not fetched again: a resumed ingest repeats nothing."""
_SAME_SCALE = 0.01
"""Between stored candles and the same ones fetched again; more, for the middle one, means another scale."""
_TWIN_ROWS = 5
"""So many identical candles in a row under two names are no coincidence."""


@dataclass(frozen=True)
class FetchRequest:
    """One asset over whole days."""

    kind: Kind
    asset: Asset
    first: date
    last: date


@dataclass(frozen=True)
class FetchResult:
    """What a feed gave, before validation. Instants naive UTC."""

    request: FetchRequest
    rows: pd.DataFrame
    fetched_until: datetime
    """Min(end of the days, what was published when the request was sent): rows beyond are not in ``rows``."""
    listed: datetime | None
    delisted: datetime | None
    fetched_at: datetime
    requests: int
    retries: int
    version: str | None
    splits: tuple[Split, ...]
    funding_interval: timedelta | None = None
    has_empty_past: bool = False
    """Whether neither the first day of the request nor a request's length before it has any candle."""


def plan_requests(
    lake: Lake,
    kind: Kind,
    feed: Feed,
    asset: Asset,
    first: date,
    last: date,
    published: datetime,
    refresh_from: date | None,
    settings: FeedSettings,
) -> list[FetchRequest]:
    """What must be fetched to bring the days first..last up to date, in windows of the feed's size.

    Args:
        published: the source's clock less the venue's publication lag, naive UTC.
        refresh_from: fetch stored days again from here on.
        settings: ``recheck_days``, stored days just before new ones that are fetched once more where the source lies across a
            network; ``skip_beyond_reach``.

    Days that the source no longer has are never asked for where the lake knows them, and with ``skip_beyond_reach`` not at all.
    """
    recheck_days, reach = settings.recheck_days, _reach(feed, kind, asset)
    version = feed.version(asset, kind)
    if version is not None and lake.ledger.newest_version(kind, asset.asset_id) not in (None, version):
        refresh_from = first
    early = first - timedelta(days=recheck_days)
    known = {row.day: row for row in lake.ledger.coverage(kind, early, last, asset_id=asset.asset_id)}
    due: list[date] = []
    for day in days_between(first, min(last, day_of(published))):
        row = known.get(day.isoformat())
        if reach is not None and day < reach and (row is not None or settings.skip_beyond_reach):
            continue
        is_new = row is None or not row.is_complete
        has_holes = row is not None and row.gaps > 0 and row.attempts < feed.gap_attempts
        if is_new or has_holes or (refresh_from is not None and day >= refresh_from):
            due.append(day)
    if due and feed.rechecks_gaps:
        stale = iso(published - _FRESH)
        before = [due[0] - timedelta(days=back) for back in range(recheck_days, 0, -1)]
        before = [day for day in before if reach is None or day >= reach]
        stored = [known.get(day.isoformat()) for day in before]
        if all(row is not None and row.fetched_at < stale for row in stored):
            due = before + due
    return [FetchRequest(kind, asset, *span) for span in day_windows(due, feed.window_days(asset, kind))]


def days_beyond_reach(lake: Lake, kind: Kind, feed: Feed, asset: Asset, first: date, last: date) -> list[date]:
    """The days that the source no longer has and the lake does not know."""
    reach = _reach(feed, kind, asset)
    if reach is None or reach <= first:
        return []
    until = min(last, reach - timedelta(days=1))
    known = {row.day for row in lake.ledger.coverage(kind, first, until, asset_id=asset.asset_id)}
    return [day for day in days_between(first, until) if day.isoformat() not in known]


def _reach(feed: Feed, kind: Kind, asset: Asset) -> date | None:
    """The first day that the source still has; dividends go with the candles that they are paid on."""
    reach = feed.reach(asset) if kind != "funding" else None
    return None if reach is None else reach.date()


def fetch(feed: Feed, request: FetchRequest, lag: timedelta, settings: FeedSettings) -> FetchResult:
    """Send the request; what closes after it was sent is left to the next one. Errors as ``Feed.candles``."""
    start, end = bounds(request.first)[0], bounds(request.last)[1]
    sent_before, version = feed.traffic.of_thread, feed.version(request.asset, request.kind)
    until = min(end, to_naive(feed.now()) - lag)
    series = {"candles": feed.candles, "funding": feed.funding, "dividends": feed.dividends}[request.kind]
    # Before the candles: a source that lists its instruments knows the nearest name of one that it does not have.
    listed = feed.listed(request.asset)
    rows = series(request.asset, start, until + MAX_LATE if request.kind == "funding" else until)
    key = KEYS[request.kind]
    interval = None
    if request.kind == "funding":
        rows = rows.assign(settled_at=on_the_hour(rows["settled_at"]))
        interval = feed.funding_interval(request.asset)
    rows = rows[(rows[key] > start) & (rows[key] <= until)]
    listed, delisted = _life(settings, request.asset, listed or feed.listed(request.asset), feed.delisted(request.asset))
    has_empty_past = False
    if request.kind == "candles" and feed.infers_listing and listed is None:
        begins_late = rows.empty or rows[key].min() > start + timedelta(days=1)
        span = timedelta(days=feed.window_days(request.asset))
        has_empty_past = (
            begins_late and until > start + timedelta(days=1) and feed.candles(request.asset, start - span, start).empty
        )
    requests, retries = (now - before for now, before in zip(feed.traffic.of_thread, sent_before, strict=True))
    splits = feed.splits(request.asset)
    return FetchResult(
        request, rows, until, listed, delisted, to_naive(feed.now()), requests, retries, version, splits, interval, has_empty_past
    )


def _life(
    settings: FeedSettings, asset: Asset, listed: datetime | None, delisted: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """(listed, delisted): what the experiment declares, or else what the source says."""
    first, last = settings.declared(settings.first_days, asset), settings.declared(settings.last_days, asset)
    return bounds(first)[0] if first is not None else listed, bounds(last)[1] if last is not None else delisted


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


def day_windows(days: Sequence[date], longest: int) -> list[tuple[date, date]]:
    """Consecutive days grouped into windows of at most ``longest`` days.

    >>> first = date(2025, 1, 1)
    >>> days = [first + timedelta(days=offset) for offset in (0, 1, 2, 8)]
    >>> [(start.day, stop.day) for start, stop in day_windows(days, 2)]
    [(1, 2), (3, 3), (9, 9)]
    """
    windows: list[tuple[date, date]] = []
    for day in days:
        if windows and windows[-1][1] + timedelta(days=1) == day and (day - windows[-1][0]).days < longest:
            windows[-1] = (windows[-1][0], day)
        else:
            windows.append((day, day))
    return windows
