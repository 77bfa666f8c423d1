"""The live feed: each venue through its own API, opened when it is first asked."""

from collections.abc import Callable
from datetime import datetime

import pandas as pd

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.feed import Feed, KnowsEnds, Traffic
from crossattn_core.candles.feeds.retry import Waiting
from crossattn_core.candles.feeds.yahoo import YahooFeed
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset, VenueName

__all__ = ["ApiFeed"]


class ApiFeed:
    """Bybit and Yahoo behind one feed.

    Args:
        settings: base URLs, limits, time-outs.
        clock: aware UTC; each venue's own clock decides which candles are closed.
        waiting: clock, sleep and chance for limits and back-off.
    """

    kind = "api"
    gap_attempts = 3
    rechecks_gaps = True
    parallel = 1

    def __init__(self, settings: FeedSettings, clock: Callable[[], datetime], waiting: Waiting | None = None) -> None:
        self._settings, self._clock, self._waiting = settings, clock, waiting or Waiting()
        self._venues: dict[VenueName, BybitFeed | YahooFeed] = {}

    @property
    def traffic(self) -> Traffic:
        """Counts over both venues so far."""
        total = Traffic()
        for feed in self._venues.values():
            total.requests += feed.traffic.requests
            total.retries += feed.traffic.retries
            total.seconds_waited += feed.traffic.seconds_waited
        return total

    def for_venue(self, venue: VenueName) -> Feed:
        """The feed of one venue; opening it asks nothing."""
        if venue not in self._venues:
            self._venues[venue] = (
                BybitFeed(self._settings, waiting=self._waiting)
                if venue == "bybit"
                else YahooFeed(self._settings, self._clock, waiting=self._waiting)
            )
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

    def ended(self, asset: Asset) -> datetime | None:
        """As the venue's feed; none where it does not say."""
        feed = self.for_venue(asset.venue)
        return feed.ended(asset) if isinstance(feed, KnowsEnds) else None

    def listed(self, asset: Asset) -> datetime | None:
        """As the venue's feed."""
        return self.for_venue(asset.venue).listed(asset)
