"""What every feed gives: closed candles, settled funding and dividends, keyed by the instant when they were known.

A feed is one source of one or more venues' candles. It never hands out a candle that is still forming by the
source's own clock, never fills a hole, and raises only ``FeedError`` and its kin.
"""

import threading
from datetime import date, datetime, timedelta
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from crossattn_core.universe import Asset, VenueName

__all__ = [
    "CANDLE_COLUMNS",
    "DIVIDEND_COLUMNS",
    "FUNDING_COLUMNS",
    "PRICE_COLUMNS",
    "Feed",
    "HasDelistings",
    "HasPlantedLeads",
    "Traffic",
    "VenueRouter",
    "empty_candles",
    "empty_dividends",
    "empty_funding",
    "newest_complete_day",
]

PRICE_COLUMNS = ("open", "high", "low", "close")

CANDLE_COLUMNS = ("asset_id", "opened_at", "closed_at", *PRICE_COLUMNS, "volume", "turnover", "fetched_at")
"""One row a candle over [opened_at, closed_at): prices in quote currency, volume in base units (shares, coins),
turnover in quote currency (NaN where the source lacks it), instants naive UTC datetime64[us]."""

FUNDING_COLUMNS = ("asset_id", "settled_at", "rate", "fetched_at")
"""One row a settlement: ``rate`` is the fraction of notional that longs pay shorts at ``settled_at``."""

DIVIDEND_COLUMNS = ("asset_id", "ex_at", "amount", "fetched_at")
"""One row a dividend: ``amount`` in quote currency for each unit held when the session of the ex-date opens, ``ex_at``; on the
scale of the prices that the same feed gives. A feed whose prices are adjusted for dividends has none to give."""


class Traffic:
    """Requests that a feed has sent so far: over all threads, and by the calling thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_thread = threading.local()
        self.requests = 0
        self.retries = 0
        self.seconds_waited = 0.0

    def count_request(self) -> None:
        """One more request was sent."""
        with self._lock:
            self.requests += 1
        self._of_thread.requests = self.of_thread[0] + 1

    def count_retry(self) -> None:
        """One more request will repeat an earlier one."""
        with self._lock:
            self.retries += 1
        self._of_thread.retries = self.of_thread[1] + 1

    def count_wait(self, seconds: float) -> None:
        """Time spent waiting on purpose."""
        with self._lock:
            self.seconds_waited += seconds

    @property
    def of_thread(self) -> tuple[int, int]:
        """(requests, retries) of the calling thread; an ingest takes differences."""
        return getattr(self._of_thread, "requests", 0), getattr(self._of_thread, "retries", 0)


class Feed(Protocol):
    """A source of candles. Instants going in and out are naive UTC unless stated otherwise."""

    @property
    def kind(self) -> str:
        """The name in ``FEEDS``; names the lake's folder."""
        ...

    @property
    def traffic(self) -> Traffic:
        """Running counts of requests and retries."""
        ...

    @property
    def gap_attempts(self) -> int:
        """How often a day with holes is fetched, over all calls, before the holes count as the source's own."""
        ...

    @property
    def rechecks_gaps(self) -> bool:
        """Whether holes are fetched once more before an ingest ends: a response over a network can come short."""
        ...

    @property
    def parallel(self) -> int:
        """How many requests may be in flight at once."""
        ...

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """Whole days that one call should span: what one request, or one cheap read, can fetch."""
        ...

    def now(self) -> datetime:
        """The source's clock, aware UTC: a candle is closed when ``closed_at`` <= this."""
        ...

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Closed candles with closed_at in (start, end], columns ``CANDLE_COLUMNS``, as the source gives them.

        Raises:
            PermanentFeedError: the source does not know the asset or refuses the request for good.
            TransientFeedError: every attempt failed in a way that a later one may not.
            FeedBlockedError: the source refuses this address for a while.
        """
        ...

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements with settled_at in (start, end], columns ``FUNDING_COLUMNS``; errors as ``candles``."""
        ...

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end], columns ``DIVIDEND_COLUMNS``; errors as ``candles``."""
        ...

    def origin(self, asset: Asset) -> dict[str, object]:
        """Where the asset's candles come from (host, folder, interval, adjustment), for the ledger; ready for JSON."""
        ...

    def listed(self, asset: Asset) -> datetime | None:
        """When the asset began to trade, where the source tells: before it, no candle is expected."""
        ...


@runtime_checkable
class HasDelistings(Protocol):
    """A feed whose source tells when an asset ceased to trade."""

    def delisted(self, asset: Asset) -> datetime | None:
        """When the asset ceased to trade: after it, no candle is expected; none while it trades."""
        ...


@runtime_checkable
class VenueRouter(Protocol):
    """A feed that fetches from each venue through another feed."""

    def for_venue(self, venue: VenueName) -> Feed:
        """The feed of one venue."""
        ...


@runtime_checkable
class HasPlantedLeads(Protocol):
    """A feed that knows what drives its market: the simulated one and its planted leads."""

    def truth(self, end: datetime) -> dict[str, object]:
        """Planted leads and regimes up to ``end``, ready for JSON."""
        ...


def empty_candles() -> pd.DataFrame:
    """No candle, with the columns and types of some."""
    columns: dict[str, np.ndarray] = {name: np.empty(0) for name in CANDLE_COLUMNS}
    columns["asset_id"] = np.empty(0, dtype=object)
    for name in ("opened_at", "closed_at", "fetched_at"):
        columns[name] = np.empty(0, dtype="datetime64[us]")
    return pd.DataFrame(columns)


def empty_funding() -> pd.DataFrame:
    """No settlement, with the columns and types of some."""
    return _empty("settled_at", "rate")


def empty_dividends() -> pd.DataFrame:
    """No dividend, with the columns and types of some."""
    return _empty("ex_at", "amount")


def _empty(key: str, value: str) -> pd.DataFrame:
    instants = np.empty(0, dtype="datetime64[us]")
    return pd.DataFrame({"asset_id": np.empty(0, dtype=object), key: instants, value: np.empty(0), "fetched_at": instants})


def newest_complete_day(now: datetime, publication_lag: timedelta = timedelta(0)) -> date:
    """The newest day whose every candle is known at ``now`` (aware UTC).

    >>> from datetime import UTC
    >>> newest_complete_day(datetime(2025, 3, 2, 0, 0, tzinfo=UTC))
    datetime.date(2025, 3, 1)
    >>> newest_complete_day(datetime(2025, 3, 2, 0, 0, tzinfo=UTC), timedelta(seconds=5))
    datetime.date(2025, 2, 28)
    """
    return (now - publication_lag).date() - timedelta(days=1)
