"""One request to a feed: which days still need fetching, and what came back. Requests may run in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from crossattn_core.candles.feeds.feed import KEYS, Feed
from crossattn_core.candles.ingest.settlements import MAX_LATE, on_the_hour
from crossattn_core.candles.lake.ledger import iso
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.scale import Split
from crossattn_core.days import bounds, day_of, days_between, to_naive
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset, Kind

__all__ = [
    "FetchRequest",
    "FetchResult",
    "day_windows",
    "days_beyond_reach",
    "fetch",
    "plan_requests",
]

_FRESH = timedelta(hours=6)
"""What was fetched so recently is not fetched again: a resumed ingest repeats nothing."""


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
