"""Refusing, before any work, a fetch that the source cannot answer."""

from collections.abc import Sequence
from datetime import date

from crossattn_core.candles.feeds.feed import VenueFeeds
from crossattn_core.candles.lake.coverage import coverage_of
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import PermanentFeedError
from crossattn_core.universe import Asset

__all__ = ["refuse_absent"]


def refuse_absent(
    feed: VenueFeeds, lake: Lake, assets: Sequence[Asset], first: date, last: date, tolerance: float, *, refresh: bool = False
) -> None:
    """Refuse assets that the source is known not to have; days first..last that are stored need no source.

    Args:
        tolerance: ``feed.gap_tolerance``.
        refresh: days that are stored are fetched again.

    Raises:
        PermanentFeedError: names every such asset and what to do.
    """
    found = {asset: feed.for_venue(asset.venue).absent(asset) for asset in assets}
    lacking = [asset for asset, why in found.items() if why]
    if lacking and not refresh:
        held = coverage_of(lake, lacking, first, last, tolerance)
        incomplete = {row.asset_id for row in held if row.kind == "candles" and not row.is_complete}
        lacking = [asset for asset in lacking if asset.asset_id in incomplete]
    if lacking:
        raise PermanentFeedError("\n".join(dict.fromkeys(found[asset] for asset in lacking)))
