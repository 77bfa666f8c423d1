"""Opening a feed: a kind of feed is one function, in a file of this package or in a plug-in.

    @FEEDS.register("simulated")
    def open_simulated(experiment: Experiment, clock: Callable[[], datetime]) -> VenueFeeds: ...

How 'api' fetches a venue's candles is registered with the venue (``universe.VENUES``), one file a venue.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from crossattn_core.candles.feeds.feed import VenueFeeds
from crossattn_core.experiment import Experiment
from crossattn_core.registry import Registry

__all__ = ["FEEDS", "open_feed", "wall_clock"]

FEEDS = Registry[Callable[[Experiment, Callable[[], datetime]], VenueFeeds]]("feed", "crossattn_core.candles.feeds")
"""``feed.kind`` -> the function that opens it."""


def wall_clock() -> datetime:
    """The machine's clock, aware UTC: the default at the outermost edge, never called from inside."""
    return datetime.now(UTC)


def open_feed(experiment: Experiment, *, clock: Callable[[], datetime] = wall_clock) -> VenueFeeds:
    """The feed that ``experiment.feed`` names, by venue. Opening sends no request to any source.

    Args:
        clock: aware UTC; sources with a clock of their own (Bybit) use theirs.
    """
    return FEEDS.get(experiment.feed.kind)(experiment, clock)
