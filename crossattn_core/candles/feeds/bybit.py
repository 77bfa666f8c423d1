"""Bybit's REST v5 as a feed: klines, funding, instruments, by the server's own clock.

https://bybit-exchange.github.io/docs/v5/market/kline. What this module knows about the source:

- rows come newest first, as strings; ``start`` is floored to its bar; a range wider than the limit loses its
  *oldest* part: windows are aligned, disjoint and at most a page long;
- the newest row may still be forming: it is dropped unless it ends at or before the ``time`` that the same response
  carries;
- linear and spot give volume in base and turnover in quote units, inverse the reverse;
- most errors come as HTTP 200 with a ``retCode``; 403 means that the address is refused for a while.
"""

import difflib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import requests

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, COLUMNS, Feed, empty_rows
from crossattn_core.candles.feeds.page_windows import INTERVALS, Window, bar_end, page_windows, whole_pages
from crossattn_core.candles.feeds.retry import Backoff, CircuitBreaker, RetryableError, TokenBucket, with_retries
from crossattn_core.days import to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError, TransientFeedError
from crossattn_core.experiment import FeedSettings, VenueCosts
from crossattn_core.grid import BarName
from crossattn_core.trading_calendar import ALWAYS_OPEN
from crossattn_core.universe import VENUES, Asset, Venue

__all__ = ["BybitFeed"]

Parsed = TypeVar("Parsed")

_KLINE_LIMIT = 1000
_FUNDING_LIMIT = 200
_BLOCK_REST_SECONDS = 600.0
"""Bybit lifts an address limit after ten minutes without a request."""
_RATE_LIMITED = {10006, 10018, 10429}
_TRANSIENT = {10000, 10002, 10016, 30034, 30035, 130035, 130150}
_REGION = {10009, 10024}
_ENDED = ("Closed", "Settling", "Delivering")
"""Statuses of a contract that trades no more."""
_EPOCH = datetime(1970, 1, 1)
_INTERVAL_OF: dict[BarName, str] = {
    "1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "4h": "240", "1d": "D",
}  # fmt: skip
"""Bybit's names of the bars."""


class BybitFeed(Feed):
    """Public market data of Bybit.

    Args:
        settings: base URL, rate limit, time-out and attempts.
        interval: one of ``INTERVALS``; those of the bars that a grid can have are in ``_INTERVAL_OF``.
        session: an open ``requests.Session``; a new one where none is given.
        backoff: clock, sleep and jitter.
    """

    kind = "api"
    gap_attempts = 3
    rechecks_gaps = True
    infers_listing = True  # spot has no launchTime
    parallel = 4

    def __init__(
        self,
        settings: FeedSettings,
        *,
        interval: str = "60",
        session: requests.Session | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if interval not in INTERVALS:
            raise ExperimentError(f"Bybit has no interval {interval!r}; choose from {', '.join(INTERVALS)}")
        super().__init__()
        self._settings, self._interval = settings, interval
        self._backoff = backoff or Backoff()
        self._session = session or requests.Session()
        per_second = settings.request_rate("bybit")
        self._bucket = TokenBucket(per_second, max(per_second / 4, 1), self._backoff)
        self._breaker = CircuitBreaker(_BLOCK_REST_SECONDS, self._backoff)
        self._clock_lock = threading.Lock()
        self._server_time: tuple[datetime, float] | None = None
        self._instruments: dict[str, dict[str, dict[str, Any]]] = {}

    def now(self) -> datetime:
        """The server's clock: that of its newest response plus the time since; read once at the start."""
        with self._clock_lock:
            if self._server_time is None:
                self._get("/v5/market/time", {}, "server time", dict)
            assert self._server_time is not None
            moment, received_at = self._server_time
            return (moment + timedelta(seconds=self._backoff.monotonic() - received_at)).replace(tzinfo=UTC)

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """Days that fill whole pages; funding is settled every eight hours at the rarest."""
        if kind == "funding":
            return _FUNDING_LIMIT // 3
        return whole_pages(INTERVALS[self._interval], _KLINE_LIMIT)

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Closed candles with closed_at in (start, end], oldest first, page by page."""
        pages = [self._kline_page(asset, window) for window in page_windows(start, end, self._interval, _KLINE_LIMIT)]
        pages = [page for page in pages if len(page)]
        return pd.concat(pages, ignore_index=True) if pages else empty_rows("candles")

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements in (start, end], oldest first; paged backwards, since the newest rows of a range come first."""
        settled: dict[int, float] = {}
        first, last = _milliseconds(start) + 1, _milliseconds(end)
        while first <= last:
            query = {"category": asset.category, "symbol": asset.symbol, "startTime": first, "endTime": last}
            rows = self._get("/v5/market/funding/history", query | {"limit": _FUNDING_LIMIT}, asset.asset_id, _settlements)
            moments = [moment for moment, _ in rows]
            settled |= {moment: rate for moment, rate in rows if first <= moment <= last}
            if len(rows) < _FUNDING_LIMIT:
                break
            last = min(moments) - 1
        if not settled:
            return empty_rows("funding")
        moments = sorted(settled)
        rows = pd.DataFrame({"settled_at": np.array(moments, "datetime64[ms]").astype("datetime64[us]")})
        rows["rate"] = [settled[moment] for moment in moments]
        rows["asset_id"], rows["fetched_at"] = asset.asset_id, self._fetched_at()
        return rows[list(COLUMNS["funding"])]

    def origin(self, asset: Asset) -> dict[str, object]:
        """Host and interval."""
        return {"url": self._settings.url_of("bybit"), "interval": self._interval}

    def listed(self, asset: Asset) -> datetime | None:
        """The instrument's launch; none where Bybit does not say (spot).

        Raises:
            PermanentFeedError: the category has no such symbol, or it has not begun to trade.
        """
        return _instant(self._instrument(asset).get("launchTime"))

    def delisted(self, asset: Asset) -> datetime | None:
        """When a closed contract was delivered; none for one that trades."""
        row = self._instrument(asset)
        return _instant(row.get("deliveryTime")) if row.get("status") in _ENDED else None

    def funding_interval(self, asset: Asset) -> timedelta | None:
        """The instrument's ``fundingInterval``, which counts minutes."""
        minutes = self._instrument(asset).get("fundingInterval")
        return timedelta(minutes=int(minutes)) if minutes and int(minutes) > 0 else None

    def _instrument(self, asset: Asset) -> dict[str, Any]:
        row = self._category(asset.category).get(asset.symbol)
        # Without a filter only what trades is listed.
        for status in _ENDED if row is None and asset.category != "spot" else ():
            row = row or self._category(asset.category, status).get(asset.symbol)
        if row is None:
            raise PermanentFeedError(_unknown(asset, self._category(asset.category)))
        if row.get("status") == "PreLaunch":
            raise PermanentFeedError(f"{asset.asset_id}: Bybit has announced it and does not trade it yet; add it once it trades")
        return row

    def _category(self, category: str, status: str = "") -> dict[str, dict[str, Any]]:
        """Every instrument of a category by symbol (those that trade, or those of one status), read once, page by page."""
        key = f"{category} {status}"
        if key not in self._instruments:
            found: dict[str, dict[str, Any]] = {}
            cursor = ""
            while True:
                query: dict[str, Any] = {"category": category, "limit": 1000} | ({"status": status} if status else {})
                if cursor:
                    query["cursor"] = cursor
                listed, cursor = self._get("/v5/market/instruments-info", query, f"{category} instruments", _instruments)
                found |= listed
                if not cursor:
                    break
            if not found and not status:
                raise TransientFeedError(f"Bybit lists no {category} instrument at all just now; try again later")
            self._instruments[key] = found
        return self._instruments[key]

    def _kline_page(self, asset: Asset, window: Window) -> pd.DataFrame:
        query = {
            "category": asset.category,
            "symbol": asset.symbol,
            "interval": self._interval,
            "start": _milliseconds(window.first_open),
            "end": _milliseconds(window.last_open),
            "limit": _KLINE_LIMIT,
        }
        symbol, columns, server_time = self._get("/v5/market/kline", query, asset.asset_id, _klines)
        if symbol not in (None, asset.symbol):
            raise PermanentFeedError(f"{asset.asset_id}: Bybit responded with {symbol}; nothing of it was stored")
        is_asked = (columns[0] >= query["start"]) & (columns[0] <= query["end"])
        if not is_asked.any():
            return empty_rows("candles")
        columns = [column[is_asked] for column in columns]
        opened = [_EPOCH + timedelta(milliseconds=moment) for moment in columns[0].tolist()]
        table = pd.DataFrame({"opened_at": np.array(opened, "datetime64[us]")})
        table["closed_at"] = np.array([bar_end(moment, self._interval) for moment in opened], "datetime64[us]")
        for name, values in zip(("open", "high", "low", "close", "volume", "turnover"), columns[1:7], strict=True):
            table[name] = values
        if asset.category == "inverse":
            # Inverse contracts count dollars and pay coins: their volume is quote, their turnover base.
            table["volume"], table["turnover"] = table["turnover"], table["volume"].copy()
        table["asset_id"], table["fetched_at"] = asset.asset_id, self._fetched_at()
        is_closed = table["closed_at"] <= server_time
        return table.loc[is_closed, list(CANDLE_COLUMNS)]

    def _get(self, path: str, query: dict[str, Any], what: str, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
        """What ``parse`` makes of the ``result`` of one request, plus ``server_time``; one that it cannot read is sent again."""

        def attempt() -> Parsed:
            result = self._attempt(path, query, what)
            try:
                return parse(result)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                raise RetryableError(f"a response of another shape ({type(error).__name__}: {error})"[:120]) from error

        return with_retries(attempt, what, self._settings.max_attempts, self.traffic, self._backoff)

    def _attempt(self, path: str, query: dict[str, Any], what: str) -> dict[str, Any]:
        self._breaker.check()
        self._bucket.take()
        self.traffic.count_request()
        url = self._settings.url_of("bybit") + path
        try:
            with self._session.get(url, params=query, timeout=self._settings.timeout_seconds, stream=True) as response:
                body = b"".join(self._in_time(response))
        except requests.RequestException as error:
            raise RetryableError(f"{type(error).__name__} at {url}") from error
        if response.status_code == 403:
            raise self._breaker.trip(
                f"{what}: HTTP 403 from {url}: too many requests from this address, or a region that Bybit refuses; "
                "wait ten minutes, lower feed.requests_per_second, or set feed.bybit_url to your region's host"
            )
        if response.status_code == 429 or response.status_code >= 500:
            raise RetryableError(f"HTTP {response.status_code}", self._named_wait(response))
        if response.status_code != 200:
            raise PermanentFeedError(
                f"{what}: HTTP {response.status_code} from {url}; check feed.bybit_url or feed.urls.bybit "
                f"(now {self._settings.url_of('bybit')})"
            )
        try:
            payload = json.loads(body)
            code, moment = int(payload["retCode"]), int(payload["time"])
            result: dict[str, Any] = dict(payload["result"] or {})
        except (ValueError, KeyError, TypeError) as error:
            raise RetryableError(f"not Bybit's JSON ({response.headers.get('Content-Type', 'no content type')})") from error
        self._refuse(code, str(payload.get("retMsg", "")), what, response)
        server_time = _EPOCH + timedelta(milliseconds=moment)
        self._server_time = (server_time, self._backoff.monotonic())
        return result | {"server_time": server_time}

    def _refuse(self, code: int, message: str, what: str, response: requests.Response) -> None:
        if code == 0:
            return
        if code in _RATE_LIMITED:
            raise RetryableError(f"retCode {code}: {message}", self._named_wait(response))
        if code in _TRANSIENT:
            raise RetryableError(f"retCode {code}: {message}")
        if code in _REGION:
            raise self._breaker.trip(
                f"{what}: Bybit refuses this region or address (retCode {code}: {message}); "
                "set feed.bybit_url to your region's host"
            )
        raise PermanentFeedError(f"{what}: Bybit says {message!r} (retCode {code}); check the symbol and its category")

    def _named_wait(self, response: requests.Response) -> float | None:
        """Seconds until the instant that the source names, where it names one."""
        reset = response.headers.get("X-Bapi-Limit-Reset-Timestamp", "")
        after = response.headers.get("Retry-After", "")
        if reset.isdigit() and self._server_time is not None:
            moment, received_at = self._server_time
            now = _milliseconds(moment) + (self._backoff.monotonic() - received_at) * 1000
            return max((int(reset) - now) / 1000, 0.0)
        return float(after) if after.isdigit() else None

    def _in_time(self, response: requests.Response) -> Iterator[bytes]:
        """The body in pieces; a source that drips is given up after twice the time-out."""
        stop_at = self._backoff.monotonic() + 2 * self._settings.timeout_seconds
        for piece in response.iter_content(65536):
            yield piece
            if self._backoff.monotonic() > stop_at:
                raise requests.Timeout("the response drips")

    def _fetched_at(self) -> pd.Timestamp:
        return pd.Timestamp(to_naive(self.now())).as_unit("us")


VENUES.add(
    "bybit",
    Venue(
        calendar=lambda asset: ALWAYS_OPEN,
        categories={"linear": ("candles", "funding"), "inverse": ("candles", "funding"), "spot": ("candles",)},
        market="crypto",
        since=date(2018, 1, 1),
        open_api=lambda settings, clock, backoff, grid: BybitFeed(settings, interval=_INTERVAL_OF[grid.bar], backoff=backoff),
        costs=VenueCosts(fee_bps=5.5, half_spread_bps=1.0, slippage_bps=3.5),
        url="https://api.bybit.com",
        requests_per_second=120.0,  # the public limit is 600 in 5 s
    ),
)


def _klines(result: dict[str, Any]) -> tuple[str | None, list[np.ndarray], datetime]:
    """(symbol, opening instants in ms and six columns of numbers, oldest first, the server's time)."""
    rows = result["list"][::-1]
    if any(len(row) != 7 for row in rows):
        raise ValueError("a kline that is no list of seven")
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    opened = np.array([int(moment) for moment in columns[0]], dtype=np.int64)
    return result.get("symbol"), [opened, *(np.array(values, dtype=float) for values in columns[1:])], result["server_time"]


def _settlements(result: dict[str, Any]) -> list[tuple[int, float]]:
    return [(int(row["fundingRateTimestamp"]), float(row["fundingRate"])) for row in result["list"]]


def _instruments(result: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], str]:
    """(symbol -> row, cursor of the next page)."""
    return {row["symbol"]: row for row in result["list"]}, result.get("nextPageCursor") or ""


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _instant(milliseconds: str | None) -> datetime | None:
    """Bybit's count since 1970; none for '' and '0'."""
    return _EPOCH + timedelta(milliseconds=int(milliseconds)) if milliseconds and int(milliseconds) else None


def _unknown(asset: Asset, known: dict[str, dict[str, Any]]) -> str:
    # Cheap coins are traded by the thousand: 1000PEPEUSDT.
    bare = asset.symbol.lstrip("0123456789")
    near = sorted(name for name in known if name.lstrip("0123456789") == bare)
    near = near or difflib.get_close_matches(asset.symbol, known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]}? " if near else ""
    return (
        f"{asset.asset_id}: Bybit has no {asset.category} instrument of this name; {hint}"
        "It may be delisted or of another category"
    )
