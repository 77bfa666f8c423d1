"""Ingesting candles: what is missing is fetched in few big windows, validated, and stored window by window.

A day is fetched when the ledger has no complete row for it, when it has holes that the source may still fill, or when a
refresh covers it. Killed at any moment, a later call fetches nothing that was stored, and what was not is at most the one
window of each asset that was in flight.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from crossattn_core.candles.feeds.feed import Feed, HasPlantedLeads, VenueFeeds
from crossattn_core.candles.ingest.fetch import FetchRequest, day_windows, days_beyond_reach, plan_requests
from crossattn_core.candles.ingest.outcome import IngestCounts, IngestedDay, VenuePlan, combined_error, days_of, refuse_empty
from crossattn_core.candles.ingest.workers import run_requests
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import leave_out
from crossattn_core.days import bounds, day_of, to_naive
from crossattn_core.errors import FeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.progress import Progress, silent
from crossattn_core.receipts import combined_hash
from crossattn_core.universe import Asset, Kind

__all__ = ["IngestedDay", "ingest", "with_dividends"]


def ingest(
    kind: Kind,
    feeds: VenueFeeds,
    lake: Lake,
    assets: Sequence[Asset],
    first: date,
    last: date,
    *,
    settings: FeedSettings,
    report: Callable[[Progress], None] = silent,
    refresh_from: date | None = None,
) -> list[IngestedDay]:
    """Bring the lake up to date over the days first..last for those of ``assets`` that have such a series.

    The feed's candles are as long as the lake's (``lake.grid``).

    Args:
        kind: 'candles'; 'funding' and 'dividends', of which none found is no error. Dividends are best ingested through the
            feed that has just fetched the candles: the same responses bring both.
        report: called after each window with ``stage`` = ``kind``.
        refresh_from: fetch stored days again from here on, to find revisions.

    Returns:
        one row a venue and day.

    Raises:
        PermanentFeedError, TransientFeedError, FeedBlockedError: for the assets named; what arrived is stored.
        HistoryError: an asset has no candle at all in the lake or in the range.
    """
    assets = [asset for asset in assets if kind in asset.series]
    counts, failures = IngestCounts(), dict[str, FeedError]()
    plans: list[VenuePlan] = []
    for venue in dict.fromkeys(asset.venue for asset in assets):
        source = feeds.for_venue(venue)
        lag = settings.publication_lag(venue)
        published = to_naive(source.now()) - lag
        own = [asset for asset in assets if asset.venue == venue]
        if settings.skip_beyond_reach:
            for asset in own:
                days = days_beyond_reach(lake, kind, source, asset, first, min(last, day_of(published)))
                _leave_out(lake, kind, source, asset, days, report)
        requests = [
            request
            for asset in own
            for request in plan_requests(lake, kind, source, asset, first, last, published, refresh_from, settings)
        ]
        plans.append(VenuePlan(source, own, requests, published, lag, settings))
    counts.total = sum(len(plan.requests) for plan in plans)
    for plan in plans:
        run_requests(plan, plan.requests, lake, counts, failures, report)
        if plan.source.rechecks_gaps:
            again = _gaps_just_seen(plan, kind, lake, failures.keys() | counts.refused_whole)
            counts.total += len(again)
            run_requests(plan, again, lake, counts, failures, report)
        if isinstance(plan.source, HasPlantedLeads):
            lake.store_truth(plan.source.truth(min(bounds(last)[1], plan.published)))
        if kind == "candles" and not any(asset.asset_id in failures for asset in plan.assets):
            refuse_empty(lake, plan, first, last)
    if failures:
        raise combined_error(failures, len(assets))
    return days_of(kind, lake, assets, first, last, counts, settings.gap_tolerance)


def _leave_out(
    lake: Lake, kind: Kind, source: Feed, asset: Asset, days: Sequence[date], report: Callable[[Progress], None]
) -> None:
    """Note days that the source no longer has: in the ledger, and for the user."""
    if not days:
        return
    why = f"left out {days[0]} .. {days[-1]}: older than the source keeps"
    leave_out(lake, kind, asset, days, to_naive(source.now()), {"feed": source.kind, **source.origin(asset), "left_out": why})
    report(Progress(kind, 0, 1, "windows", f"{asset.symbol}: {why}"))


def with_dividends(candles: Sequence[IngestedDay], dividends: Sequence[IngestedDay]) -> list[IngestedDay]:
    """The candles' days with what their dividends add: payments, requests, what was refused, completeness."""
    paid = {(row.venue, row.day): row for row in dividends}
    return [_both(row, paid[row.venue, row.day]) if (row.venue, row.day) in paid else row for row in candles]


def _both(row: IngestedDay, paid: IngestedDay) -> IngestedDay:
    return replace(
        row,
        dividends=paid.rows,
        requests=row.requests + paid.requests,
        retries=row.retries + paid.retries,
        quarantined=row.quarantined + paid.quarantined,
        revisions=row.revisions + paid.revisions,
        complete=row.complete and paid.complete,
        content_hash=combined_hash(row.content_hash, paid.content_hash),
    )


def _gaps_just_seen(plan: VenuePlan, kind: Kind, lake: Lake, hopeless: set[str]) -> list[FetchRequest]:
    """Complete days of this call that came with holes, fetched once so far."""
    days: dict[Asset, list[date]] = {}
    for request in plan.requests:
        for row in lake.ledger.coverage(kind, request.first, request.last, asset_id=request.asset.asset_id):
            if row.gaps and row.attempts == 1 and row.asset_id not in hopeless:
                days.setdefault(request.asset, []).append(date.fromisoformat(row.day))
    return [
        FetchRequest(kind, asset, *span)
        for asset, seen in days.items()
        for span in day_windows(seen, plan.source.window_days(asset, kind))
    ]
