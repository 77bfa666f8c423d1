"""The live feed: each venue through its own API, opened at its first request."""

from collections.abc import Callable
from datetime import datetime

import pandas as pd

from crossattn_core.candles.feeds.feed import Feed, HasDelistings, Traffic
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.experiment import Experiment, FeedSettings
from crossattn_core.universe import VENUES, Asset, VenueName

__all__ = ["ApiFeed"]


@FEEDS.register("api")
def open_api(experiment: Experiment, clock: Callable[[], datetime]) -> Feed:
    """Each venue of the experiment through its own API."""
    return ApiFeed(experiment.feed, clock)


class ApiFeed:
    """All venues behind one feed.

    Args:
        settings: base URLs, limits, time-outs.
        clock: aware UTC; each venue's own clock decides which candles are closed.
        backoff: clock, sleep and jitter for limits and back-off.
    """

    kind = "api"
    gap_attempts = 3
    rechecks_gaps = True
    parallel = 1

    def __init__(self, settings: FeedSettings, clock: Callable[[], datetime], backoff: Backoff | None = None) -> None:
        self._settings, self._clock, self._backoff = settings, clock, backoff or Backoff()
        self._venues: dict[VenueName, Feed] = {}

    @property
    def traffic(self) -> Traffic:
        """Counts over all venues so far."""
        total = Traffic()
        for feed in self._venues.values():
            total.requests += feed.traffic.requests
            total.retries += feed.traffic.retries
            total.seconds_waited += feed.traffic.seconds_waited
        return total

    def for_venue(self, venue: VenueName) -> Feed:
        """The feed of one venue; opening it sends no request."""
        if venue not in self._venues:
            self._venues[venue] = VENUES.get(venue).open_api(self._settings, self._clock, self._backoff)
        return self._venues[venue]

    def now(self) -> datetime:
        """The injected clock: no request is spent on it."""
        return self._clock()

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """As the venue's feed."""
        return self.for_venue(asset.venue).window_days(asset, kind)

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """As the venue's feed."""
        return self.for_venue(asset.venue).candles(asset, start, end)

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """As the venue's feed."""
        return self.for_venue(asset.venue).funding(asset, start, end)

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """As the venue's feed."""
        return self.for_venue(asset.venue).dividends(asset, start, end)

    def origin(self, asset: Asset) -> dict[str, object]:
        """As the venue's feed."""
        return self.for_venue(asset.venue).origin(asset)

    def delisted(self, asset: Asset) -> datetime | None:
        """As the venue's feed; none where it does not tell."""
        feed = self.for_venue(asset.venue)
        return feed.delisted(asset) if isinstance(feed, HasDelistings) else None

    def listed(self, asset: Asset) -> datetime | None:
        """As the venue's feed."""
        return self.for_venue(asset.venue).listed(asset)
