"""What a lake has of each asset over some days, and where it has holes: never fetched, or fetched and missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from crossattn_core.candles.lake.ledger import Coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import days_between
from crossattn_core.universe import Asset, Kind

__all__ = ["AssetCoverage", "Hole", "coverage_of", "lacking"]


_LEFT_OUT = "left out: older than the source keeps"


@dataclass(frozen=True)
class Hole:
    """Consecutive days that lack something, for one reason."""

    first: date
    last: date
    why: str
    """'never fetched', 'not over when fetched', 'missing' or 'left out: older than the source keeps'."""
    missing: int
    """Rows that the calendar calls for and the source did not give; 0 where nothing was fetched."""


@dataclass(frozen=True)
class AssetCoverage:
    """One asset and kind over some days."""

    asset_id: str
    kind: Kind
    days: int
    rows: int
    expected: int
    """Rows that the calendar calls for, on the days that were fetched."""
    first: datetime | None
    last: datetime | None
    quarantined: int
    revisions_waiting: int
    """Values that the source changed later and that are not adopted."""
    holes: tuple[Hole, ...]
    days_lacking: int
    """Days that lack more than the tolerance allows, see ``lacking``."""

    @property
    def missing(self) -> int:
        """Rows that the source did not give."""
        return sum(hole.missing for hole in self.holes)

    @property
    def is_complete(self) -> bool:
        """Whether every day was fetched when it was over, and none lacks more than the tolerance allows."""
        return all(hole.why in ("missing", _LEFT_OUT) for hole in self.holes) and not self.days_lacking


def lacking(days: Sequence[Coverage], tolerance: float) -> set[str]:
    """Of one asset's days those that lack more candles than a source that lacks the share ``tolerance`` of all would by chance.

    A day is judged by itself: it may lack ``tolerance`` of its candles and three standard deviations of that share more. So are
    the days that pass together, and with them every one with a hole: where each lacks a little too much, or has a single candle.

    >>> two, three = (Coverage("candles", "a", "v", f"2025-03-0{gaps}", "", expected=24, gaps=gaps) for gaps in (2, 3))
    >>> lacking([two, three], 0.02)
    {'2025-03-03'}
    """
    found = {row.day for row in days if row.expected > 1 and row.gaps > _allowed(row.expected, tolerance)}
    others = [row for row in days if row.day not in found]
    if sum(row.gaps for row in others) > _allowed(sum(row.expected for row in others), tolerance):
        found |= {row.day for row in others if row.gaps}
    return found


def _allowed(expected: int, tolerance: float) -> float:
    mean = tolerance * expected
    return mean + 3 * (mean * (1 - tolerance)) ** 0.5


def coverage_of(lake: Lake, assets: Sequence[Asset], first: date, last: date, tolerance: float) -> list[AssetCoverage]:
    """One row an asset and kind, in the order of ``assets``.

    Args:
        tolerance: ``feed.gap_tolerance``.
    """
    kinds = dict.fromkeys(kind for asset in assets for kind in asset.series)
    refused = {kind: Counter(lake.read_quarantine(first, last, kind=kind)["asset_id"].to_pylist()) for kind in kinds}
    waiting = {kind: _waiting(lake, kind, first, last) for kind in kinds}
    return [
        _of_asset(lake, asset, kind, first, last, refused[kind], waiting[kind], tolerance)
        for asset in assets
        for kind in asset.series
    ]


def _of_asset(
    lake: Lake,
    asset: Asset,
    kind: Kind,
    first: date,
    last: date,
    refused: Counter[str],
    waiting: Counter[str],
    tolerance: float,
) -> AssetCoverage:
    known = {row.day: row for row in lake.ledger.coverage(kind, first, last, asset_id=asset.asset_id)}
    return AssetCoverage(
        asset_id=asset.asset_id,
        kind=kind,
        days=(last - first).days + 1,
        rows=sum(row.rows for row in known.values()),
        expected=sum(row.expected for row in known.values()),
        first=min((datetime.fromisoformat(row.first) for row in known.values() if row.first), default=None),
        last=max((datetime.fromisoformat(row.last) for row in known.values() if row.last), default=None),
        quarantined=refused[asset.asset_id],
        revisions_waiting=waiting[asset.asset_id],
        holes=tuple(_holes(known, first, last)),
        days_lacking=len(lacking(list(known.values()), tolerance)),
    )


def _waiting(lake: Lake, kind: Kind, first: date, last: date) -> Counter[str]:
    revisions = lake.read_revisions(first, last, kind=kind)
    return Counter(revisions.filter(revisions["adopted_at"].is_null())["asset_id"].to_pylist())


def _holes(known: dict[str, Coverage], first: date, last: date) -> Iterator[Hole]:
    open_hole: Hole | None = None
    for day in days_between(first, last):
        why, missing = _lacks(known.get(day.isoformat()))
        if open_hole is not None and why == open_hole.why and open_hole.last + timedelta(days=1) == day:
            open_hole = Hole(open_hole.first, day, why, open_hole.missing + missing)
            continue
        if open_hole is not None:
            yield open_hole
        open_hole = Hole(day, day, why, missing) if why else None
    if open_hole is not None:
        yield open_hole


def _lacks(row: Coverage | None) -> tuple[str, int]:
    if row is None:
        return "never fetched", 0
    if not row.is_complete:
        return "not over when fetched", row.gaps
    if not row.attempts and not row.expected:
        return _LEFT_OUT, 0
    return ("missing", row.gaps) if row.gaps else ("", 0)
