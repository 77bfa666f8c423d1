"""The live feeds: each venue through its own API."""

from collections.abc import Callable
from datetime import datetime

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.experiment import Experiment, FeedSettings
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.universe import VENUES, VenueName

__all__ = ["ApiFeeds"]


@FEEDS.register("api")
def open_api(experiment: Experiment, clock: Callable[[], datetime]) -> "ApiFeeds":
    """Each venue of the experiment through its own API."""
    return ApiFeeds(experiment.feed, clock, grid=experiment.candle_grid)


class ApiFeeds:
    """One feed a venue, opened at its first use.

    Args:
        settings: base URLs, limits, time-outs.
        clock: aware UTC; each venue's own clock decides which candles are closed.
        backoff: clock, sleep and jitter for limits and back-off.
        grid: the candles are one bar of it long.
    """

    def __init__(
        self, settings: FeedSettings, clock: Callable[[], datetime], backoff: Backoff | None = None, grid: Grid = HOURLY
    ) -> None:
        self._settings, self._clock, self._backoff, self._grid = settings, clock, backoff or Backoff(), grid
        self._feeds: dict[VenueName, Feed] = {}

    def for_venue(self, venue: VenueName) -> Feed:
        """The venue's feed; opening it sends no request."""
        if venue not in self._feeds:
            self._feeds[venue] = VENUES.get(venue).open_api(self._settings, self._clock, self._backoff, self._grid)
        return self._feeds[venue]
