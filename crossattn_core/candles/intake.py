"""Taking candles in: what is missing is asked for in few big windows, judged, and stored window by window.

A day is asked for when the ledger has no complete row for it, when it has holes that the source may still fill,
or when a refresh covers it. Killed at any moment, a later intake asks for nothing that was stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from crossattn_core.candles.feed import Feed, KnowsTruth, Progress, silent
from crossattn_core.candles.ledger import Coverage, Kind
from crossattn_core.candles.sessions import expected_bars
from crossattn_core.candles.store import Lake
from crossattn_core.candles.storing import Answer, Stored, store_answer, whole_days
from crossattn_core.candles.validate import LastStored, judge_candles, judge_funding
from crossattn_core.days import bounds, day_of, days_between, to_naive
from crossattn_core.errors import FeedBlockedError, FeedError, HistoryError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset

__all__ = ["DayIntake", "take_in_candles", "take_in_funding"]

_SETTLEMENTS_A_DAY = 3
"""The fewest that a perpetual has: eight hours is the longest funding interval."""


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

    requests: dict[tuple[str, date], int]
    retries: dict[tuple[str, date], int]
    quarantined: dict[tuple[str, date], int]
    revisions: dict[tuple[str, date], int]

    def add(self, counts: dict[tuple[str, date], int], venue: str, day: date, more: int) -> None:
        counts[venue, day] = counts.get((venue, day), 0) + more


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
    now = to_naive(feed.now())
    plan = [
        (asset, window)
        for asset in assets
        for window in whole_days(
            _days_to_ask(lake, kind, feed, asset, first, last, now, refresh_from), feed.window_days(asset)
        )
    ]
    tally = _Tally({}, {}, {}, {})
    failures: dict[str, FeedError] = {}
    rows = 0
    for done, (asset, window) in enumerate(plan, start=1):
        if asset.asset_id in failures and isinstance(failures[asset.asset_id], PermanentFeedError):
            continue
        try:
            answer = _ask(kind, feed, lake, asset, window)
        except FeedBlockedError:
            raise
        except FeedError as error:
            failures[asset.asset_id] = error
            continue
        stored = store_answer(lake, answer)
        rows += stored.rows
        _book(tally, answer, stored)
        report(
            Progress(
                kind,
                done,
                len(plan),
                asset.symbol,
                rows,
                feed.traffic.requests,
                feed.traffic.retries,
                sum(tally.quarantined.values()),
            )
        )
    if plan and isinstance(feed, KnowsTruth):
        lake.store_truth(feed.truth(min(bounds(last)[1], now)))
    if failures:
        raise _failure(failures, len(assets))
    if kind == "candles":
        _refuse_silence(lake, feed, assets, first, last, now)
    return _outcome(kind, lake, assets, first, last, tally)


def _days_to_ask(
    lake: Lake, kind: Kind, feed: Feed, asset: Asset, first: date, last: date, now: datetime, refresh_from: date | None
) -> list[date]:
    known = {row.day: row for row in lake.ledger.coverage(kind, first, last, asset_id=asset.asset_id)}
    wanted = []
    for day in days_between(first, min(last, day_of(now))):
        row = known.get(day.isoformat())
        is_new = row is None or not row.is_complete
        has_holes = row is not None and row.gaps > 0 and row.attempts < feed.gap_attempts
        if is_new or has_holes or (refresh_from is not None and day >= refresh_from):
            wanted.append(day)
    return wanted


def _ask(kind: Kind, feed: Feed, lake: Lake, asset: Asset, window: tuple[date, date]) -> Answer:
    start, end = bounds(window[0])[0], bounds(window[1])[1]
    asked_before = (feed.traffic.requests, feed.traffic.retries)
    fetch = feed.candles if kind == "candles" else feed.funding
    raw = fetch(asset, start, end)
    now = to_naive(feed.now())
    if kind == "candles":
        verdict = judge_candles(raw, asset, now, before=_last_stored(lake, asset, window[0]))
    else:
        verdict = judge_funding(raw, now)
    return Answer(
        kind=kind,
        asset=asset,
        first=window[0],
        last=window[1],
        rows=verdict.accepted,
        refused=verdict.refused,
        expected=_expected(kind, asset, window, min(end, now), feed.listed(asset)),
        asked_until=min(end, now),
        fetched_at=now,
        request={"feed": feed.kind, "after": start.isoformat(), "until": end.isoformat()},
        requests=feed.traffic.requests - asked_before[0],
        retries=feed.traffic.retries - asked_before[1],
    )


def _expected(
    kind: Kind, asset: Asset, window: tuple[date, date], until: datetime, listed: datetime | None
) -> dict[date, tuple[int, int]]:
    """Day -> (rows called for, of these optional)."""
    start = max(bounds(window[0])[0], listed) if listed is not None else bounds(window[0])[0]
    days = list(days_between(*window))
    if kind == "funding":
        return {
            day: (_SETTLEMENTS_A_DAY if start <= bounds(day)[0] and bounds(day)[1] <= until else 0, 0) for day in days
        }
    bars = expected_bars(asset.calendar, start, until)
    edges = np.array([bounds(window[0])[0], *(bounds(day)[1] for day in days)], dtype="datetime64[us]")
    cuts = np.searchsorted(bars.closed_T, edges, side="right")
    optional = np.concatenate([[0], np.cumsum(bars.is_optional_T)])[cuts]
    return {
        day: (int(cuts[place + 1] - cuts[place]), int(optional[place + 1] - optional[place]))
        for place, day in enumerate(days)
    }


def _last_stored(lake: Lake, asset: Asset, day: date) -> LastStored | None:
    """The newest stored candle of the ten days before ``day``."""
    newest: Coverage | None = None
    for row in lake.ledger.coverage("candles", day - timedelta(days=10), day - timedelta(days=1), asset_id=asset.asset_id):
        newest = row if row.file is not None else newest
    if newest is None:
        return None
    table = lake.read_candles(asset.venue, date.fromisoformat(newest.day), date.fromisoformat(newest.day))
    own = table.filter([name == asset.asset_id for name in table["asset_id"].to_pylist()])
    return LastStored(own["closed_at"][-1].as_py(), own["close"][-1].as_py())


def _book(tally: _Tally, answer: Answer, stored: Stored) -> None:
    venue = answer.asset.venue
    tally.add(tally.requests, venue, answer.first, answer.requests)
    tally.add(tally.retries, venue, answer.first, answer.retries)
    for day, count in stored.revisions.items():
        tally.add(tally.revisions, venue, day, count)
    for closed_at in answer.refused["closed_at"]:
        tally.add(tally.quarantined, venue, day_of(closed_at), 1)


def _failure(failures: dict[str, FeedError], asked: int) -> FeedError:
    """One error for all assets that failed; permanent when any is."""
    lines = list(dict.fromkeys(str(error) for error in failures.values()))
    is_permanent = any(isinstance(error, PermanentFeedError) for error in failures.values())
    message = lines[0]
    if len(lines) > 1 or len(failures) < asked:
        message = f"{len(failures)} of {asked} assets failed; what arrived is stored:\n  " + "\n  ".join(lines)
    return PermanentFeedError(message) if is_permanent else TransientFeedError(message)


def _refuse_silence(lake: Lake, feed: Feed, assets: Sequence[Asset], first: date, last: date, now: datetime) -> None:
    """A range that is empty for everyone, or an asset that never had a candle, is a mistake to name at once."""
    until = min(bounds(last)[1], now)
    rows = {row.asset_id: 0 for row in lake.ledger.coverage("candles", first, last)}
    for row in lake.ledger.coverage("candles", first, last):
        rows[row.asset_id] += row.rows
    is_due = {asset.asset_id: len(expected_bars(asset.calendar, bounds(first)[0], until)) > 0 for asset in assets}
    empty = [asset for asset in assets if is_due[asset.asset_id] and not rows.get(asset.asset_id)]
    if not empty:
        return
    if any(rows.get(asset.asset_id) for asset in assets):
        empty = [asset for asset in empty if not lake.ledger.has_rows("candles", asset.asset_id) and _trades(feed, asset, until)]
    if empty:
        since = {asset: feed.listed(asset) for asset in empty}
        named = [f"{a.asset_id} (there since {moment:%Y-%m-%d})" if moment else a.asset_id for a, moment in since.items()]
        raise HistoryError(
            f"no candle between {first} and {last} for {', '.join(named)} in feed {feed.kind!r}; "
            "choose a period that the source covers (period.start, period.end) or drop the symbol"
        )


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
