"""Taking candles in: what is missing is asked for in few big windows, judged, and stored window by window.

A day is asked for when the ledger has no complete row for it, when it has holes that the source may still fill,
or when a refresh covers it. Killed at any moment, a later intake asks for nothing that was stored.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from crossattn_core.candles.asking import Question, Reply, fetch, judged, questions, whole_days
from crossattn_core.candles.feed import Feed, KnowsTruth, ManyVenues, Progress, silent
from crossattn_core.candles.ledger import Coverage, Kind
from crossattn_core.candles.sessions import expected_bars
from crossattn_core.candles.store import Lake
from crossattn_core.candles.storing import Answer, Stored, store_answer
from crossattn_core.candles.validate import REASONS
from crossattn_core.days import bounds, day_of, days_between, to_naive
from crossattn_core.errors import FeedBlockedError, FeedError, HistoryError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset, VenueName

__all__ = ["DayIntake", "take_in_candles", "take_in_funding"]

@dataclass(frozen=True)
class DayIntake:
    """One venue's day after an intake: what the lake holds, and what this intake did for it."""

    venue: str
    day: date
    rows: int
    expected_rows: int
    gaps: int
    """Expected candles that the lake does not have."""
    first: datetime | None
    last: datetime | None
    requests: int
    """Of this intake; a window's requests are booked on its first day."""
    retries: int
    quarantined: int
    revisions: int
    """Candles whose later value differs from the stored one, found by this intake."""
    complete: bool
    """Every asset was asked for after the day was over."""
    content_hash: str


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


@dataclass
class _Tally:
    """What one intake did, by (venue, day)."""

    requests: Counter[tuple[str, date]] = field(default_factory=Counter)
    retries: Counter[tuple[str, date]] = field(default_factory=Counter)
    quarantined: Counter[tuple[str, date]] = field(default_factory=Counter)
    revisions: Counter[tuple[str, date]] = field(default_factory=Counter)
    rows: int = 0
    done: int = 0
    total: int = 0

    def book(self, answer: Answer, stored: Stored) -> None:
        venue = answer.asset.venue
        self.requests[venue, answer.first] += answer.requests
        self.retries[venue, answer.first] += answer.retries
        self.revisions.update({(venue, day): count for day, count in stored.revisions.items()})
        self.quarantined.update((venue, day_of(closed_at)) for closed_at in answer.refused["closed_at"])
        self.rows += stored.rows


@dataclass(frozen=True)
class _VenuePlan:
    """What one venue's source will be asked."""

    source: Feed
    assets: Sequence[Asset]
    asked: Sequence[Question]
    published: datetime
    """The source's clock at the start, less the publication lag; naive UTC."""
    lag: timedelta


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
    tally, failures = _Tally(), dict[str, FeedError]()
    plans: list[_VenuePlan] = []
    venues: list[VenueName] = list(dict.fromkeys(asset.venue for asset in assets))
    for venue in venues:
        source = feed.for_venue(venue) if isinstance(feed, ManyVenues) else feed
        lag = timedelta(seconds=settings.publication_lag_seconds.get(venue, 0))
        published = to_naive(source.now()) - lag
        own = [asset for asset in assets if asset.venue == venue]
        asked = [
            question
            for asset in own
            for question in questions(lake, kind, source, asset, first, last, published, refresh_from)
        ]
        plans.append(_VenuePlan(source, own, asked, published, lag))
    tally.total = sum(len(plan.asked) for plan in plans)
    for plan in plans:
        _work_off(plan, plan.asked, lake, tally, failures, report)
        if plan.source.rechecks_gaps:
            again = _gaps_just_seen(plan, kind, lake, failures)
            tally.total += len(again)
            _work_off(plan, again, lake, tally, failures, report)
        if plan.asked and isinstance(plan.source, KnowsTruth):
            lake.store_truth(plan.source.truth(min(bounds(last)[1], plan.published)))
        if kind == "candles" and not any(asset.asset_id in failures for asset in plan.assets):
            _refuse_silence(lake, plan, first, last)
    if failures:
        raise _failure(failures, len(assets))
    return _outcome(kind, lake, assets, first, last, tally)


class _SameThread(Executor):
    """For sources that take one question at a time: no thread to wait for when the user interrupts."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _gaps_just_seen(plan: _VenuePlan, kind: Kind, lake: Lake, failures: dict[str, FeedError]) -> list[Question]:
    """Complete days of this intake that came with holes, asked for once so far."""
    days: dict[Asset, list[date]] = {}
    for question in plan.asked:
        for row in lake.ledger.coverage(kind, question.first, question.last, asset_id=question.asset.asset_id):
            if row.gaps and row.attempts == 1 and question.asset.asset_id not in failures:
                days.setdefault(question.asset, []).append(date.fromisoformat(row.day))
    return [
        Question(kind, asset, *span)
        for asset, seen in days.items()
        for span in whole_days(seen, plan.source.window_days(asset, kind))
    ]


def _work_off(
    plan: _VenuePlan,
    asked: Sequence[Question],
    lake: Lake,
    tally: _Tally,
    failures: dict[str, FeedError],
    report: Callable[[Progress], None],
) -> None:
    """Fetch in parallel, a few questions ahead; judge and store in order."""
    source = plan.source
    waiting = list(reversed(asked))
    ahead: deque[tuple[Question, Future[Reply]]] = deque()
    pool = ThreadPoolExecutor(source.parallel, thread_name_prefix="candles") if source.parallel > 1 else _SameThread()
    try:
        while waiting or ahead:
            while waiting and len(ahead) < source.parallel:
                question = waiting.pop()
                ahead.append((question, pool.submit(fetch, source, question, plan.lag)))
            question, future = ahead.popleft()
            tally.done += 1
            asset_id = question.asset.asset_id
            try:
                reply = future.result()
            except FeedBlockedError:
                raise
            except FeedError as error:
                failures.setdefault(asset_id, error)
                if isinstance(error, PermanentFeedError):
                    # No other window of this asset would fare better.
                    failures[asset_id] = error
                    tally.done += sum(left.asset.asset_id == asset_id for left in waiting)
                    waiting = [left for left in waiting if left.asset.asset_id != asset_id]
                continue
            answer = judged(lake, source, reply)
            tally.book(answer, store_answer(lake, answer))
            report(
                Progress(
                    question.kind,
                    tally.done,
                    tally.total,
                    question.asset.symbol,
                    tally.rows,
                    sum(tally.requests.values()),
                    sum(tally.retries.values()),
                    sum(tally.quarantined.values()),
                )
            )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _failure(failures: dict[str, FeedError], asked: int) -> FeedError:
    """One error for all assets that failed; permanent when any is."""
    lines = list(dict.fromkeys(str(error) for error in failures.values()))
    is_permanent = any(isinstance(error, PermanentFeedError) for error in failures.values())
    message = lines[0]
    if len(lines) > 1 or len(failures) < asked:
        message = f"{len(failures)} of {asked} assets failed; what arrived is stored:\n  " + "\n  ".join(lines)
    return PermanentFeedError(message) if is_permanent else TransientFeedError(message)


def _refuse_silence(lake: Lake, plan: _VenuePlan, first: date, last: date) -> None:
    """A range that is empty for everyone, or an asset that never had a candle, is a mistake to name at once."""
    until = min(bounds(last)[1], plan.published)
    rows: Counter[str] = Counter()
    for row in lake.ledger.coverage("candles", first, last):
        rows[row.asset_id] += row.rows
    empty = [
        asset
        for asset in plan.assets
        if not rows[asset.asset_id] and len(expected_bars(asset.calendar, bounds(first)[0], until))
    ]
    if any(rows[asset.asset_id] for asset in plan.assets):
        empty = [
            asset
            for asset in empty
            if not lake.ledger.has_rows("candles", asset.asset_id) and _trades(plan.source, asset, until)
        ]
    if empty:
        since = {asset.asset_id: plan.source.listed(asset) for asset in empty}
        named = [f"{name} (there since {moment:%Y-%m-%d})" if moment else name for name, moment in since.items()]
        refused = _refused(lake, empty, first, last)
        raise HistoryError(
            f"no candle between {first} and {last} for {', '.join(named)} in feed {plan.source.kind!r}{refused}; "
            "choose a period that the source covers (period.start, period.end) or drop the symbol"
        )


def _refused(lake: Lake, assets: Sequence[Asset], first: date, last: date) -> str:
    """How many candles of these assets were refused, and why."""
    names = {asset.asset_id for asset in assets}
    reasons = Counter(row["reason"] for row in lake.read_quarantine(first, last).to_pylist() if row["asset_id"] in names)
    return "".join(f"; {count} candles were refused: {REASONS[reason]}" for reason, count in reasons.most_common(2))


def _trades(feed: Feed, asset: Asset, until: datetime) -> bool:
    listed = feed.listed(asset)
    return listed is None or listed < until


def _outcome(
    kind: Kind, lake: Lake, assets: Sequence[Asset], first: date, last: date, tally: _Tally
) -> list[DayIntake]:
    wanted = {asset.asset_id for asset in assets}
    by_day: dict[tuple[str, str], list[Coverage]] = {}
    for row in lake.ledger.coverage(kind, first, last):
        if row.asset_id in wanted:
            by_day.setdefault((row.venue, row.day), []).append(row)
    days: list[DayIntake] = []
    for venue in dict.fromkeys(asset.venue for asset in assets):
        hashes = lake.day_hashes(venue, first, last, kind=kind)
        count = sum(asset.venue == venue for asset in assets)
        for day in days_between(first, last):
            rows = by_day.get((venue, day.isoformat()), [])
            days.append(
                DayIntake(
                    venue=venue,
                    day=day,
                    rows=sum(row.rows for row in rows),
                    expected_rows=sum(row.expected for row in rows),
                    gaps=sum(row.gaps for row in rows),
                    first=min((datetime.fromisoformat(row.first) for row in rows if row.first), default=None),
                    last=max((datetime.fromisoformat(row.last) for row in rows if row.last), default=None),
                    requests=tally.requests.get((venue, day), 0),
                    retries=tally.retries.get((venue, day), 0),
                    quarantined=tally.quarantined.get((venue, day), 0),
                    revisions=tally.revisions.get((venue, day), 0),
                    complete=len(rows) == count and all(row.is_complete for row in rows),
                    content_hash=hashes[day],
                )
            )
    return days
