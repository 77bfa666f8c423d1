"""One question to a feed: which days still need asking, what came back, what of it may be stored.

Fetching may run in parallel; judging and storing happen in order, because a window is judged by the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import Feed, KnowsEnds
from crossattn_core.candles.lake.day_files import CANDLE_SCHEMA, SCHEMAS, content_hash, read_day_files, time_column, to_table
from crossattn_core.candles.lake.ledger import Kind, iso
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import Answer
from crossattn_core.candles.quality import Neighbour, Verdict, judge_candles, judge_dividends, judge_funding, refuse_all
from crossattn_core.days import bounds, day_of, days_between, to_naive
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset

__all__ = ["Question", "Reply", "fetch", "judged", "questions", "whole_days"]

_SETTLEMENTS_A_DAY = 3
"""The fewest that a perpetual has: eight hours is the longest funding interval."""
_FRESH = timedelta(hours=6)
"""What was fetched so recently is not asked for again: a resumed intake repeats nothing."""
_SAME_SCALE = 0.01
"""Between stored candles and the same ones asked for again; more, for the middle one, means another scale."""
_TWIN_ROWS = 5
"""A day of so many identical candles under two names is no coincidence."""


@dataclass(frozen=True)
class Question:
    """One asset over whole days."""

    kind: Kind
    asset: Asset
    first: date
    last: date


@dataclass(frozen=True)
class Reply:
    """What a feed answered, before judgement. Instants naive UTC."""

    question: Question
    rows: pd.DataFrame
    asked_until: datetime
    """Min(end of the days, what was published when the question left): rows beyond are not in ``rows``."""
    listed: datetime | None
    ended: datetime | None
    fetched_at: datetime
    requests: int
    retries: int


def questions(
    lake: Lake,
    kind: Kind,
    feed: Feed,
    asset: Asset,
    first: date,
    last: date,
    published: datetime,
    refresh_from: date | None,
    recheck_days: int,
) -> list[Question]:
    """What must be asked to bring the days first..last up to date, in windows that the feed likes.

    Args:
        published: the source's clock less the venue's publication lag, naive UTC.
        refresh_from: ask again for stored days from here on.
        recheck_days: stored days just before new ones that a source over a network is asked for again.
    """
    early = first - timedelta(days=recheck_days)
    known = {row.day: row for row in lake.ledger.coverage(kind, early, last, asset_id=asset.asset_id)}
    wanted: list[date] = []
    for day in days_between(first, min(last, day_of(published))):
        row = known.get(day.isoformat())
        is_new = row is None or not row.is_complete
        has_holes = row is not None and row.gaps > 0 and row.attempts < feed.gap_attempts
        if is_new or has_holes or (refresh_from is not None and day >= refresh_from):
            wanted.append(day)
    if wanted and feed.rechecks_gaps:
        stale = iso(published - _FRESH)
        before = [wanted[0] - timedelta(days=back) for back in range(recheck_days, 0, -1)]
        stored = [known.get(day.isoformat()) for day in before]
        if all(row is not None and row.fetched_at < stale for row in stored):
            wanted = before + wanted
    return [Question(kind, asset, *span) for span in whole_days(wanted, feed.window_days(asset, kind))]


def fetch(feed: Feed, question: Question, lag: timedelta) -> Reply:
    """Put the question; what closed after it left waits for the next one."""
    start, end = bounds(question.first)[0], bounds(question.last)[1]
    asked_before = feed.traffic.mine
    until = min(end, to_naive(feed.now()) - lag)
    ask = {"candles": feed.candles, "funding": feed.funding, "dividends": feed.dividends}[question.kind]
    rows = ask(question.asset, start, until)
    key = time_column(SCHEMAS[question.kind])
    rows = rows[(rows[key] > start) & (rows[key] <= until)]
    listed = feed.listed(question.asset)
    ended = feed.ended(question.asset) if isinstance(feed, KnowsEnds) else None
    asked_after = feed.traffic.mine
    return Reply(
        question,
        rows,
        until,
        listed,
        ended,
        to_naive(feed.now()),
        asked_after[0] - asked_before[0],
        asked_after[1] - asked_before[1],
    )


def judged(lake: Lake, feed: Feed, reply: Reply) -> Answer:
    """The reply split into what may be stored and what goes to quarantine."""
    question = reply.question
    if question.kind == "candles":
        verdict = judge_candles(reply.rows, question.asset, reply.fetched_at, beside=_beside(lake, question))
        factor, twin = _rescaled(lake, question, verdict.accepted), _twin(lake, question.asset, verdict.accepted)
        if factor is not None:
            why = (
                f"stored candles now come with {factor:.4g} times their price: the source has adjusted for a split since; "
                "retire the asset's history and take it in again"
            )
            verdict = refuse_all(verdict, "other_scale", why)
        elif twin is not None:
            verdict = refuse_all(verdict, "twin", f"the same candles as {twin}, which was stored first: one of the two is wrong")
    elif question.kind == "dividends":
        verdict = judge_dividends(reply.rows, question.asset, reply.fetched_at)
    else:
        verdict = judge_funding(reply.rows, reply.fetched_at)
    start, end = bounds(question.first)[0], bounds(question.last)[1]
    return Answer(
        kind=question.kind,
        asset=question.asset,
        first=question.first,
        last=question.last,
        rows=verdict.accepted,
        refused=verdict.refused,
        expected=_expected(question, reply, verdict),
        asked_until=reply.asked_until,
        fetched_at=reply.fetched_at,
        request={
            "feed": feed.kind,
            "after": start.isoformat(),
            "until": min(end, reply.asked_until).isoformat(),
            **feed.origin(question.asset),
        },
        requests=reply.requests,
        retries=reply.retries,
    )


def _expected(question: Question, reply: Reply, verdict: Verdict) -> dict[date, tuple[int, int]]:
    """Day -> (rows called for, of these optional)."""
    opened = bounds(question.first)[0]
    start = max(opened, reply.listed) if reply.listed is not None else opened
    stop = min(reply.asked_until, reply.ended) if reply.ended is not None else reply.asked_until
    days = list(days_between(question.first, question.last))
    if question.kind == "dividends":
        return {}  # nobody promises any
    if question.kind == "funding":
        is_due = {day: start <= bounds(day)[0] and bounds(day)[1] <= stop for day in days}
        return {day: (_SETTLEMENTS_A_DAY if is_due[day] else 0, 0) for day in days}
    bars = expected_bars(question.asset.calendar, start, stop)
    edges = np.array([opened, *(bounds(day)[1] for day in days)], dtype="datetime64[us]")
    cuts = np.searchsorted(bars.closed_T, edges, side="right")
    is_missing_T = ~np.isin(bars.closed_T, verdict.accepted["closed_at"].to_numpy().astype("datetime64[us]"))
    # A half day's closing bar that the source lacks was never promised; one that is there counts as expected.
    waived = np.concatenate([[0], np.cumsum(bars.is_optional_T & is_missing_T)])[cuts]
    return {day: (int(cuts[place + 1] - cuts[place]), int(waived[place + 1] - waived[place])) for place, day in enumerate(days)}


def _beside(lake: Lake, question: Question) -> Neighbour | None:
    """The stored candle nearest to the question's days: the newest before, or else the oldest after."""
    nearest = lake.ledger.nearest_file("candles", question.asset.asset_id, question.first, question.last)
    if nearest is None:
        return None
    file, is_before = nearest
    table = read_day_files(lake.folder, [file], CANDLE_SCHEMA)
    row = table.num_rows - 1 if is_before else 0
    return Neighbour(table["closed_at"][row].as_py(), table["close"][row].as_py())


def _rescaled(lake: Lake, question: Question, rows: pd.DataFrame) -> float | None:
    """By how much the source has rescaled candles that are stored already; None where it has not."""
    days = lake.ledger.coverage("candles", question.first, question.last, asset_id=question.asset.asset_id)
    files = [row.file for row in days if row.file is not None]
    if not files or rows.empty:
        return None
    stored = read_day_files(lake.folder, files, CANDLE_SCHEMA)
    key_stored, key_fresh = stored["closed_at"].to_numpy(), rows["closed_at"].to_numpy().astype("datetime64[us]")
    _, at_stored, at_fresh = np.intersect1d(key_stored, key_fresh, assume_unique=True, return_indices=True)
    if not len(at_stored):
        return None
    ratio = np.median(rows["close"].to_numpy()[at_fresh] / stored["close"].to_numpy()[at_stored])
    return float(ratio) if abs(ratio - 1) > _SAME_SCALE else None


def _twin(lake: Lake, asset: Asset, rows: pd.DataFrame) -> str | None:
    """Another asset whose stored candles are these, told by the first, middle and last full day."""
    key_T = rows["closed_at"].to_numpy().astype("datetime64[us]") - np.timedelta64(1, "us")
    day_D, first_D, count_D = np.unique(key_T.astype("datetime64[D]"), return_index=True, return_counts=True)
    full = np.flatnonzero(count_D >= _TWIN_ROWS)
    if not len(full):
        return None
    named = {
        day_D[place].item(): content_hash(to_table(rows.iloc[first_D[place] : first_D[place] + count_D[place]], CANDLE_SCHEMA))
        for place in {full[0], full[len(full) // 2], full[-1]}
    }
    return lake.ledger.twin("candles", asset.asset_id, named)


def whole_days(days: Sequence[date], longest: int) -> list[tuple[date, date]]:
    """Consecutive days grouped into windows of at most ``longest`` days.

    >>> first = date(2025, 1, 1)
    >>> days = [first + timedelta(days=offset) for offset in (0, 1, 2, 8)]
    >>> [(start.day, stop.day) for start, stop in whole_days(days, 2)]
    [(1, 2), (3, 3), (9, 9)]
    """
    windows: list[tuple[date, date]] = []
    for day in days:
        if windows and windows[-1][1] + timedelta(days=1) == day and (day - windows[-1][0]).days < longest:
            windows[-1] = (windows[-1][0], day)
        else:
            windows.append((day, day))
    return windows
