"""What every feed gives: closed candles, settled funding and dividends, keyed by the instant when they were known.

A feed is one source of one or more venues' candles. It never hands out a candle that is still forming by the
source's own clock, never fills a hole, and raises only ``FeedError`` and its kin.
"""

import threading
from abc import ABC, abstractmethod
from datetime import date, datetime, timedelta
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from crossattn_core.candles.scale import Split
from crossattn_core.universe import Asset, Kind, VenueName

__all__ = [
    "CANDLE_COLUMNS",
    "COLUMNS",
    "KEYS",
    "PRICE_COLUMNS",
    "Feed",
    "HasPlantedLeads",
    "Traffic",
    "VenueFeeds",
    "empty_rows",
    "known_rows",
    "newest_complete_day",
]

PRICE_COLUMNS = ("open", "high", "low", "close")

CANDLE_COLUMNS = ("asset_id", "opened_at", "closed_at", *PRICE_COLUMNS, "volume", "turnover", "fetched_at")
"""One row a candle over [opened_at, closed_at): prices in quote currency, volume in base units (shares, coins),
turnover in quote currency (NaN where the source lacks it), instants naive UTC datetime64[us]."""

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "candles": CANDLE_COLUMNS,
    "funding": ("asset_id", "settled_at", "rate", "fetched_at"),
    "dividends": ("asset_id", "ex_at", "amount", "fetched_at"),
}
"""Funding, one row a settlement: ``rate`` is the fraction of notional that longs pay shorts at ``settled_at``. Dividends:
``amount`` in quote currency for each unit held when the session of the ex-date opens, ``ex_at``; on the scale of the prices that
the same feed gives. A feed whose prices are adjusted for dividends has none to give."""

KEYS: dict[Kind, str] = {"candles": "closed_at", "funding": "settled_at", "dividends": "ex_at"}
"""The instant of a row that decides its day."""


class Traffic:
    """Requests that a feed has sent so far: over all threads, and by the calling thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_thread = threading.local()
        self.requests = 0
        self.retries = 0

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

    @property
    def of_thread(self) -> tuple[int, int]:
        """(requests, retries) of the calling thread; an ingest takes differences."""
        return getattr(self._of_thread, "requests", 0), getattr(self._of_thread, "retries", 0)


class VenueFeeds(Protocol):
    """What ``FEEDS`` opens: a feed by venue."""

    def for_venue(self, venue: VenueName) -> "Feed":
        """The feed of one venue; opening it sends no request."""
        ...


class Feed(ABC):
    """A source of candles. Instants going in and out are naive UTC unless stated otherwise."""

    kind: str
    """The name in ``FEEDS``; names the lake's folder."""
    gap_attempts = 1
    """How often a day with holes is fetched, over all calls, before the holes count as the source's own."""
    rechecks_gaps = False
    """Whether holes are fetched once more before an ingest ends: a response over a network can come short."""
    infers_listing = False
    """Whether an asset that the source does not date (``listed``) began with its first candle, where a page before has none."""
    parallel = 1
    """How many requests may be in flight at once."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def for_venue(self, venue: VenueName) -> "Feed":
        """Itself: one source for every venue."""
        return self

    @abstractmethod
    def window_days(self, asset: Asset, kind: Kind = "candles") -> int:
        """Whole days that one call should span: what one request, or one cheap read, can fetch."""

    @abstractmethod
    def now(self) -> datetime:
        """The source's clock, aware UTC: a candle is closed when ``closed_at`` <= this."""

    @abstractmethod
    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Closed candles with closed_at in (start, end], columns ``CANDLE_COLUMNS``, as the source gives them.

        Raises:
            PermanentFeedError: the source does not know the asset or refuses the request for good.
            TransientFeedError: every attempt failed in a way that a later one may not.
            FeedBlockedError: the source refuses this address for a while.
        """

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements with settled_at in (start, end]; errors as ``candles``."""
        return empty_rows("funding")

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end]; errors as ``candles``."""
        return empty_rows("dividends")

    @abstractmethod
    def origin(self, asset: Asset) -> dict[str, object]:
        """Where the asset's candles come from (host, folder, interval, adjustment), for the ledger; ready for JSON."""

    def absent(self, asset: Asset) -> str:
        """Why the source cannot have the asset's candles, where that is known without a request; '' otherwise."""
        return ""

    def splits(self, asset: Asset) -> tuple[Split, ...]:
        """The splits that the source told of with the asset's candles."""
        return ()

    def funding_interval(self, asset: Asset) -> timedelta | None:
        """How often a perpetual settles funding now, where the source says so."""
        return None

    def reach(self, asset: Asset) -> datetime | None:
        """The oldest instant from which on the source still gives candles; none where it gives them from the listing on."""
        return None

    def version(self, asset: Asset, kind: Kind = "candles") -> str | None:
        """Names what a source that can change as a whole now holds; days stored from another version are read again."""
        return None

    def listed(self, asset: Asset) -> datetime | None:
        """When the asset began to trade, where the source says so: before it, no candle is expected."""
        return None

    def delisted(self, asset: Asset) -> datetime | None:
        """When the asset ceased to trade, where the source says so: after it, no candle is expected."""
        return None


@runtime_checkable
class HasPlantedLeads(Protocol):
    """A feed that knows what drives its market: the simulated one and its planted leads."""

    def truth(self, end: datetime) -> dict[str, object]:
        """Planted leads and regimes up to ``end``, ready for JSON."""
        ...


def empty_rows(kind: Kind) -> pd.DataFrame:
    """No row of ``kind``, with the columns and types of some."""
    types = {"asset_id": object, **dict.fromkeys(("opened_at", *KEYS.values(), "fetched_at"), "datetime64[us]")}
    return pd.DataFrame({name: np.empty(0, dtype=types.get(name, float)) for name in COLUMNS[kind]})


def known_rows(kind: Kind, rows: pd.DataFrame, asset: Asset, start: datetime, end: datetime, now: datetime) -> pd.DataFrame:
    """Those of the asset's rows that lie in (start, end] and are known at ``now`` (naive UTC), stamped as fetched then.

    A column ``fault`` (a key of ``quality.REASONS``, '' for none) names the rows that the feed itself found unusable.
    """
    keep = (rows[KEYS[kind]] > start) & (rows[KEYS[kind]] <= min(end, now))
    kept = rows[keep].assign(asset_id=asset.asset_id, fetched_at=pd.Timestamp(now).as_unit("us"))
    return kept[[*COLUMNS[kind], *(["fault"] if "fault" in rows else [])]].reset_index(drop=True)


def newest_complete_day(now: datetime, publication_lag: timedelta = timedelta(0)) -> date:
    """The newest day whose every candle is known at ``now`` (aware UTC).

    >>> from datetime import UTC
    >>> newest_complete_day(datetime(2025, 3, 2, 0, 0, tzinfo=UTC))
    datetime.date(2025, 3, 1)
    >>> newest_complete_day(datetime(2025, 3, 2, 0, 0, tzinfo=UTC), timedelta(seconds=5))
    datetime.date(2025, 2, 28)
    """
    return (now - publication_lag).date() - timedelta(days=1)
