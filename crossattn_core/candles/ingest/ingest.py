"""Taking candles in: what is missing is asked for in few big windows, judged, and stored window by window.

A day is asked for when the ledger has no complete row for it, when it has holes that the source may still fill,
or when a refresh covers it. Killed at any moment, a later intake asks for nothing that was stored, and what was not is at
most the one window of each asset that was in flight.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from crossattn_core.candles.feeds.feed import Feed, KnowsTruth, ManyVenues, Progress, silent
from crossattn_core.candles.ingest.fetch import Question, questions, whole_days
from crossattn_core.candles.ingest.outcome import DayIntake, Tally, VenuePlan, failure, outcome, refuse_silence
from crossattn_core.candles.ingest.workers import work_off
from crossattn_core.candles.lake.ledger import Kind
from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import bounds, to_naive
from crossattn_core.errors import FeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.receipts import combined_hash
from crossattn_core.universe import Asset, VenueName

__all__ = ["DayIntake", "take_in_candles", "take_in_dividends", "take_in_funding", "with_dividends"]


def take_in_candles(
    feed: Feed,
    lake: Lake,
    assets: Sequence[Asset],
    first: date,
    last: date,
    *,
    settings: FeedSettings,
    report: Callable[[Progress], None] = silent,
    refresh_from: date | None = None,
) -> list[DayIntake]:
    """Bring the lake up to date for ``assets`` over the days first..last; one row a venue and day.

    Args:
        refresh_from: ask again for stored days from here on, to find revisions.

    Raises:
        PermanentFeedError, TransientFeedError, FeedBlockedError: for the assets named; what arrived is stored.
        HistoryError: an asset has no candle at all in the lake or in the range.
    """
    return _take_in("candles", feed, lake, assets, first, last, settings, report, refresh_from)


def take_in_funding(
    feed: Feed,
    lake: Lake,
    assets: Sequence[Asset],
    first: date,
    last: date,
    *,
    settings: FeedSettings,
    report: Callable[[Progress], None] = silent,
    refresh_from: date | None = None,
) -> list[DayIntake]:
    """As ``take_in_candles`` for the funding of those assets that pay it; none found is no error."""
    perpetuals = [asset for asset in assets if asset.pays_funding]
    return _take_in("funding", feed, lake, perpetuals, first, last, settings, report, refresh_from)


def take_in_dividends(
    feed: Feed,
    lake: Lake,
    assets: Sequence[Asset],
    first: date,
    last: date,
    *,
    settings: FeedSettings,
    report: Callable[[Progress], None] = silent,
    refresh_from: date | None = None,
) -> list[DayIntake]:
    """As ``take_in_candles`` for the dividends of those assets that pay them; none found is no error.

    Best through the feed that has just taken the candles in: the same answers bring both.
    """
    payers = [asset for asset in assets if asset.pays_dividends]
    return _take_in("dividends", feed, lake, payers, first, last, settings, report, refresh_from)


def with_dividends(candles: Sequence[DayIntake], dividends: Sequence[DayIntake]) -> list[DayIntake]:
    """The candles' days with what their dividends add: payments, requests, what was refused, completeness."""
    paid = {(row.venue, row.day): row for row in dividends}
    return [_both(row, paid[row.venue, row.day]) if (row.venue, row.day) in paid else row for row in candles]


def _both(row: DayIntake, paid: DayIntake) -> DayIntake:
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


def _take_in(
    kind: Kind,
    feed: Feed,
    lake: Lake,
    assets: Sequence[Asset],
    first: date,
    last: date,
    settings: FeedSettings,
    report: Callable[[Progress], None],
    refresh_from: date | None,
) -> list[DayIntake]:
    tally, failures = Tally(), dict[str, FeedError]()
    plans: list[VenuePlan] = []
    venues: list[VenueName] = list(dict.fromkeys(asset.venue for asset in assets))
    for venue in venues:
        source = feed.for_venue(venue) if isinstance(feed, ManyVenues) else feed
        lag = timedelta(seconds=settings.publication_lag_seconds.get(venue, 0))
        published = to_naive(source.now()) - lag
        own = [asset for asset in assets if asset.venue == venue]
        asked = [
            question
            for asset in own
            for question in questions(lake, kind, source, asset, first, last, published, refresh_from, settings.recheck_days)
        ]
        plans.append(VenuePlan(source, own, asked, published, lag))
    tally.total = sum(len(plan.asked) for plan in plans)
    for plan in plans:
        work_off(plan, plan.asked, lake, tally, failures, report)
        if plan.source.rechecks_gaps:
            again = _gaps_just_seen(plan, kind, lake, failures.keys() | tally.refused_whole)
            tally.total += len(again)
            work_off(plan, again, lake, tally, failures, report)
        if plan.asked and isinstance(plan.source, KnowsTruth):
            lake.store_truth(plan.source.truth(min(bounds(last)[1], plan.published)))
        if kind == "candles" and not any(asset.asset_id in failures for asset in plan.assets):
            refuse_silence(lake, plan, first, last)
    if failures:
        raise failure(failures, len(assets))
    return outcome(kind, lake, assets, first, last, tally)


def _gaps_just_seen(plan: VenuePlan, kind: Kind, lake: Lake, hopeless: set[str]) -> list[Question]:
    """Complete days of this intake that came with holes, asked for once so far."""
    days: dict[Asset, list[date]] = {}
    for question in plan.asked:
        for row in lake.ledger.coverage(kind, question.first, question.last, asset_id=question.asset.asset_id):
            if row.gaps and row.attempts == 1 and row.asset_id not in hopeless:
                days.setdefault(question.asset, []).append(date.fromisoformat(row.day))
    return [
        Question(kind, asset, *span)
        for asset, seen in days.items()
        for span in whole_days(seen, plan.source.window_days(asset, kind))
    ]
