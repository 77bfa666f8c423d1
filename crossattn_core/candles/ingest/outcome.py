"""What an ingest did: counts by venue and day, and the errors that stop a run which has nothing to go on with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.ingest.fetch import FetchRequest
from crossattn_core.candles.lake.coverage import lacking
from crossattn_core.candles.lake.ledger import Coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import FetchedWindow, WriteResult
from crossattn_core.candles.quality import REASONS
from crossattn_core.days import bounds, day_of, days_between
from crossattn_core.errors import FeedError, HistoryError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset, Kind

__all__ = ["IngestCounts", "IngestedDay", "VenuePlan", "combined_error", "days_of", "refuse_empty"]

_EMPTY_DAYS = 7
"""So long a range without any candle is a mistake; a shorter one is a gap, which the asset checks count."""


@dataclass(frozen=True)
class IngestedDay:
    """One venue's day after an ingest: what the lake holds, and what this ingest did for it."""

    venue: str
    day: date
    rows: int
    expected_rows: int
    gaps: int
    """Expected candles that the lake does not have."""
    first: datetime | None
    last: datetime | None
    requests: int
    """Of this ingest; a window's requests count on its first day, and on the range's where it begins before."""
    retries: int
    quarantined: int
    revisions: int
    """Candles whose later value differs from the stored one, found by this ingest."""
    complete: bool
    """Every asset was fetched after the day was over."""
    content_hash: str
    lacking: tuple[str, ...] = ()
    """Assets that lack more of the day's candles than ``feed.gap_tolerance`` allows."""
    dividends: int = 0
    """Dividends that the lake holds for the day, where they were ingested with its candles."""


@dataclass
class IngestCounts:
    """What one ingest did so far, by (venue, day)."""

    requests: Counter[tuple[str, date]] = field(default_factory=Counter)
    retries: Counter[tuple[str, date]] = field(default_factory=Counter)
    quarantined: Counter[tuple[str, date]] = field(default_factory=Counter)
    revisions: Counter[tuple[str, date]] = field(default_factory=Counter)
    refused_whole: set[str] = field(default_factory=set)
    """Assets with a window of which nothing could be stored."""
    rows: int = 0
    done: int = 0
    total: int = 0

    def add(self, window: FetchedWindow, written: WriteResult) -> None:
        """Count one stored window."""
        venue = window.asset.venue
        self.requests[venue, window.first] += window.requests
        self.retries[venue, window.first] += window.retries
        self.revisions.update({(venue, day): count for day, count in written.revisions.items()})
        self.quarantined.update((venue, day_of(closed_at)) for closed_at in window.refused["closed_at"])
        self.rows += written.rows
        if window.is_refused_whole:
            self.refused_whole.add(window.asset.asset_id)


@dataclass(frozen=True)
class VenuePlan:
    """The requests to one venue's source."""

    source: Feed
    assets: Sequence[Asset]
    requests: Sequence[FetchRequest]
    published: datetime
    """The source's clock at the start, less the publication lag; naive UTC."""
    lag: timedelta
    settings: FeedSettings


def combined_error(failures: dict[str, FeedError], assets: int) -> FeedError:
    """One error for all of ``assets`` that failed; permanent when any is."""
    lines = list(dict.fromkeys(str(error) for error in failures.values()))
    is_permanent = any(isinstance(error, PermanentFeedError) for error in failures.values())
    message = lines[0]
    if len(lines) > 1 or len(failures) < assets:
        message = f"{len(failures)} of {assets} assets failed; what arrived is stored:\n  " + "\n  ".join(lines)
    return PermanentFeedError(message) if is_permanent else TransientFeedError(message)


def refuse_empty(lake: Lake, plan: VenuePlan, first: date, last: date) -> None:
    """Refuse a range that is empty for every asset, and an asset that never had a candle.

    Raises:
        HistoryError: names them, and the extent that the source gives.
    """
    until = min(bounds(last)[1], plan.published)
    rows: Counter[str] = Counter()
    for row in lake.ledger.coverage("candles", first, last):
        rows[row.asset_id] += row.rows
    start, step = bounds(first)[0], lake.grid.step
    empty = [
        asset for asset in plan.assets if not rows[asset.asset_id] and len(expected_bars(asset.calendar, start, until, step))
    ]
    is_all_empty = not any(rows[asset.asset_id] for asset in plan.assets)
    if not is_all_empty or (last - first).days + 1 < _EMPTY_DAYS:
        empty = [
            asset
            for asset in empty
            if not lake.ledger.has_rows("candles", asset.asset_id) and (is_all_empty or _trades(plan.source, asset, until))
        ]
    if empty:
        named = [f"{asset.asset_id}{_extent(plan, asset)}" for asset in empty]
        refused = _refused(lake, empty, first, last)
        raise HistoryError(
            f"no candle between {first} and {last} for {', '.join(named)} in feed {plan.source.kind!r}{refused}; "
            "choose a period that the source covers (period.start, period.end) or drop the symbol"
        )


def _extent(plan: VenuePlan, asset: Asset) -> str:
    """From when to when the source has the asset, as far as it says so without many requests."""
    if not plan.source.rechecks_gaps:
        rows = plan.source.candles(asset, datetime(1990, 1, 1), plan.published)
        return f" (it has {rows['closed_at'].min():%Y-%m-%d} to {rows['closed_at'].max():%Y-%m-%d})" if len(rows) else ""
    listed = plan.source.listed(asset)
    return f" (listed {listed:%Y-%m-%d})" if listed is not None else ""


def _refused(lake: Lake, assets: Sequence[Asset], first: date, last: date) -> str:
    """How many candles of these assets were refused, and why."""
    names = {asset.asset_id for asset in assets}
    reasons = Counter(row["reason"] for row in lake.read_quarantine(first, last).to_pylist() if row["asset_id"] in names)
    return "".join(f"; {count} candles were refused: {REASONS[reason]}" for reason, count in reasons.most_common(2))


def _trades(feed: Feed, asset: Asset, until: datetime) -> bool:
    listed = feed.listed(asset)
    return listed is None or listed < until


def days_of(
    kind: Kind, lake: Lake, assets: Sequence[Asset], first: date, last: date, counts: IngestCounts, tolerance: float
) -> list[IngestedDay]:
    """What the lake holds of ``assets`` and what ``counts`` holds of what was done for it: one row a venue and day.

    Args:
        tolerance: ``feed.gap_tolerance``.
    """
    by_asset: dict[str, list[Coverage]] = {asset.asset_id: [] for asset in assets}
    by_day: dict[tuple[str, str], list[Coverage]] = {}
    for row in lake.ledger.coverage(kind, first, last):
        if row.asset_id in by_asset:
            by_asset[row.asset_id].append(row)
            by_day.setdefault((row.venue, row.day), []).append(row)
    short = {(asset_id, day) for asset_id, rows in by_asset.items() for day in lacking(rows, tolerance)}
    days: list[IngestedDay] = []
    for venue in dict.fromkeys(asset.venue for asset in assets):
        hashes = lake.day_hashes(venue, first, last, kind=kind)
        assets_here = sum(asset.venue == venue for asset in assets)
        for day in days_between(first, last):
            rows = by_day.get((venue, day.isoformat()), [])
            days.append(
                IngestedDay(
                    venue=venue,
                    day=day,
                    rows=sum(row.rows for row in rows),
                    expected_rows=sum(row.expected for row in rows),
                    gaps=sum(row.gaps for row in rows),
                    first=min((datetime.fromisoformat(row.first) for row in rows if row.first), default=None),
                    last=max((datetime.fromisoformat(row.last) for row in rows if row.last), default=None),
                    requests=_counted(counts.requests, venue, day, first),
                    retries=_counted(counts.retries, venue, day, first),
                    quarantined=counts.quarantined.get((venue, day), 0),
                    revisions=counts.revisions.get((venue, day), 0),
                    complete=len(rows) == assets_here and all(row.is_complete for row in rows),
                    content_hash=hashes[day],
                    lacking=tuple(row.asset_id for row in rows if (row.asset_id, row.day) in short),
                )
            )
    return days


def _counted(counter: Counter[tuple[str, date]], venue: str, day: date, first: date) -> int:
    """What was counted for the day; for the range's first day also what was counted before it."""
    if day != first:
        return counter.get((venue, day), 0)
    return sum(count for (where, on), count in counter.items() if where == venue and on <= first)
