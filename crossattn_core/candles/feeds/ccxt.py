"""Exchanges through ccxt as a feed: candles of spot and perpetuals, and funding, by the exchange's own clock.

The extra ``ccxt`` is needed. What this module knows of the library:

- a request is paced by ``throttle``, which is replaced by our limiter, so that tests and several threads share one;
- ``until`` closes a range from above; windows are aligned, disjoint and at most a page long, so that an exchange that gives the
  newest or the oldest rows of a wider range gives the same;
- the newest row may still be forming: a candle counts once it closed by the exchange's clock;
- volume is in base units for spot everywhere; of perpetuals only exchanges are named here whose contracts count coins;
- its errors say whether a retry may help; a response that its parsers cannot read raises anything.
"""

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, COLUMNS, Feed, empty_rows
from crossattn_core.candles.feeds.page_windows import Window, page_windows, whole_pages
from crossattn_core.candles.feeds.retry import Backoff, CircuitBreaker, RetryableError, TokenBucket, with_retries
from crossattn_core.days import to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.grid import Grid
from crossattn_core.universe import VENUES, Asset, Kind

__all__ = ["CcxtFeed"]

_EPOCH = datetime(1970, 1, 1)
_PAGE, _FUNDING_PAGE = 500, 100
"""Rows of one response where the library does not say."""
_BLOCK_REST_SECONDS = 600.0
_INTERVALS = {"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "4h": "240", "1d": "D"}
"""The bars by the names of ``page_windows``."""
_MAX_SETTLEMENTS_A_DAY = 24


class CcxtFeed(Feed):
    """Public market data of one exchange.

    Args:
        venue: the exchange's name, in ``VENUES`` and in ccxt.
        settings: base URL, rate limit, time-out and attempts.
        clock: aware UTC, for exchanges that have none of their own.
        grid: the candles are one bar of it long.
        backoff: clock, sleep and jitter.

    Raises:
        ExperimentError: ccxt is not installed, or the exchange has no candles of that length.
    """

    kind = "api"
    gap_attempts = 3
    rechecks_gaps = True
    parallel = 1  # the library is one session with a state

    def __init__(
        self, venue: str, settings: FeedSettings, clock: Callable[[], datetime], grid: Grid, backoff: Backoff | None = None
    ) -> None:
        super().__init__()
        self._venue, self._settings, self._clock, self._grid = venue, settings, clock, grid
        self._backoff = backoff or Backoff()
        self._lock = threading.RLock()
        self._ccxt = _library(venue, grid)
        self._exchange = self._open()
        if grid.bar not in (self._exchange.timeframes or {}):
            known = ", ".join(bar for bar in _INTERVALS if bar in (self._exchange.timeframes or {}))
            raise ExperimentError(
                f"{venue} has no candles of {grid.bar}; choose from {known}: set feed.interval to one that divides the bar"
            )
        per_second = min(settings.request_rate(venue), 1000 / self._exchange.rateLimit)
        self._bucket = TokenBucket(per_second, max(per_second / 4, 1), self._backoff)
        self._breaker = CircuitBreaker(_BLOCK_REST_SECONDS, self._backoff)
        self._server_time: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The exchange's clock, read once, plus the time since; the injected one where it has none."""
        if not self._exchange.has["fetchTime"]:
            return self._clock()
        with self._lock:
            if self._server_time is None:
                moment = self._call("server time", lambda: self._exchange.fetch_time())
                self._server_time = (_EPOCH + timedelta(milliseconds=int(moment)), self._backoff.monotonic())
            read, received_at = self._server_time
            return (read + timedelta(seconds=self._backoff.monotonic() - received_at)).replace(tzinfo=UTC)

    def window_days(self, asset: Asset, kind: Kind = "candles") -> int:
        """Days that fill whole pages."""
        if kind == "funding":
            return max(self._page(asset, kind) // _MAX_SETTLEMENTS_A_DAY, 1)
        return whole_pages(self._grid.step, self._page(asset, kind))

    def origin(self, asset: Asset) -> dict[str, object]:
        """Library, exchange, address and interval."""
        url = self._settings.url_of(self._venue) or self._venue
        return {"library": f"ccxt {self._ccxt.__version__}", "url": url, "interval": self._grid.bar}

    def listed(self, asset: Asset) -> datetime | None:
        """When the market was made, where the exchange says so.

        Raises:
            PermanentFeedError: the exchange has no such market.
        """
        created = self._market(asset).get("created")
        return _EPOCH + timedelta(milliseconds=int(created)) if created else None

    def reach(self, asset: Asset) -> datetime | None:
        """How far back the exchange gives candles, where it does not give all."""
        days = VENUES.get(self._venue).reach_days.get(self._grid.bar)
        return to_naive(self.now()) - timedelta(days=days) if days else None

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Closed candles with closed_at in (start, end], oldest first, page by page."""
        reach = self.reach(asset)
        if reach is not None and start < reach:
            raise PermanentFeedError(
                f"{asset.asset_id}: {self._venue} gives candles of {self._grid.bar} back to {reach:%Y-%m-%d %H:%M}; the request "
                f"starts on {start:%Y-%m-%d}: set period.start to the day after or later, or bring older candles as files"
            )
        windows = page_windows(start, end, _INTERVALS[self._grid.bar], self._page(asset, "candles"))
        pages = [page for page in (self._candle_page(asset, window) for window in windows) if len(page)]
        return pd.concat(pages, ignore_index=True) if pages else empty_rows("candles")

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements in (start, end], oldest first; of windows so short that hourly ones fit into a page."""
        if not self._exchange.has["fetchFundingRateHistory"]:
            return empty_rows("funding")
        step, limit = timedelta(days=self.window_days(asset, "funding")), self._page(asset, "funding")
        symbol, rates, first = self._market(asset)["symbol"], {}, start
        while first < end:
            last = min(first + step, end)
            since, until = _milliseconds(first) + 1, _milliseconds(last)
            rows = self._call(
                asset.asset_id,
                lambda since=since, until=until: self._exchange.fetch_funding_rate_history(
                    symbol, since, limit, {"until": until}
                ),
            )
            rates |= {int(row["timestamp"]): float(row["fundingRate"]) for row in rows if since <= int(row["timestamp"]) <= until}
            first = last
        if not rates:
            return empty_rows("funding")
        moments = sorted(rates)
        table = pd.DataFrame({"settled_at": np.array(moments, "datetime64[ms]").astype("datetime64[us]")})
        table["rate"] = [rates[moment] for moment in moments]
        table["asset_id"], table["fetched_at"] = asset.asset_id, self._fetched_at()
        return table[list(COLUMNS["funding"])]

    def _candle_page(self, asset: Asset, window: Window) -> pd.DataFrame:
        symbol, since, last = self._market(asset)["symbol"], _milliseconds(window.first_open), _milliseconds(window.last_open)
        rows = self._call(
            asset.asset_id,
            lambda: _checked(self._exchange.fetch_ohlcv(symbol, self._grid.bar, since, window.bars, {"until": last})),
        )
        held = {int(row[0]): row for row in rows if since <= int(row[0]) <= last}
        if not held:
            return empty_rows("candles")
        columns = list(zip(*(held[moment] for moment in sorted(held)), strict=True))
        table = pd.DataFrame({"opened_at": np.array(columns[0], "datetime64[ms]").astype("datetime64[us]")})
        table["closed_at"] = table["opened_at"] + self._grid.step
        for name, values in zip(("open", "high", "low", "close", "volume"), columns[1:6], strict=True):
            table[name] = np.array(values, dtype=float)
        table["turnover"], table["asset_id"], table["fetched_at"] = np.nan, asset.asset_id, self._fetched_at()
        return table.loc[table["closed_at"] <= to_naive(self.now()), list(CANDLE_COLUMNS)]

    def _market(self, asset: Asset) -> dict[str, Any]:
        """The library's description of the asset's market, found by the exchange's own name or by its coins."""
        with self._lock:
            if not self._exchange.markets:
                self._call(f"{self._venue} markets", self._exchange.load_markets)
            wanted = _bare(asset.symbol)
            of_class = [market for market in self._exchange.markets.values() if _class_of(market) == asset.category]
        for named in ("id", "symbol"):
            found = [market for market in of_class if _bare(str(market[named])) == wanted]
            found = found or [market for market in of_class if f"{market['base']}{market['quote']}".upper() == wanted]
            if found:
                return found[0]
        raise PermanentFeedError(
            f"{asset.asset_id}: {self._venue} has no {asset.category} market of this name (it has {len(of_class)} others); "
            "check the symbol and its category"
        )

    def _page(self, asset: Asset, kind: Kind) -> int:
        """Rows of one response."""
        features = self._exchange.features or {}
        of_class = features.get("spot") if asset.category == "spot" else (features.get("swap") or {}).get("linear")
        method, usual = ("fetchOHLCV", _PAGE) if kind == "candles" else ("fetchFundingRateHistory", _FUNDING_PAGE)
        return ((of_class or {}).get(method) or {}).get("limit") or usual

    def _call(self, what: str, ask: Callable[[], Any]) -> Any:
        def attempt() -> Any:
            self._breaker.check()
            with self._lock:
                return self._translated(what, ask)

        return with_retries(attempt, what, self._settings.max_attempts, self.traffic, self._backoff)

    def _translated(self, what: str, ask: Callable[[], Any]) -> Any:
        """One call of the library, its errors mapped to ours."""
        try:
            return ask()
        except (self._ccxt.PermissionDenied, self._ccxt.DDoSProtection) as error:
            if isinstance(error, self._ccxt.RateLimitExceeded) or not _is_refusal(error):
                raise RetryableError(_said(error), self._named_wait()) from error
            raise self._breaker.trip(
                f"{what}: {self._venue} refuses this address or region ({_said(error)}); wait, or set feed.urls.{self._venue}"
            ) from error
        except self._ccxt.NetworkError as error:
            if _is_refusal(error):
                raise self._breaker.trip(
                    f"{what}: {self._venue} refuses this address or region ({_said(error)}); set feed.urls.{self._venue}"
                ) from error
            raise RetryableError(_said(error), self._named_wait()) from error
        except (self._ccxt.BadResponse, self._ccxt.NullResponse) as error:
            raise RetryableError(_said(error)) from error
        except self._ccxt.BaseError as error:
            raise PermanentFeedError(f"{what}: {self._venue} says {_said(error)!r}; check the symbol and its category") from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            # What its parsers raise for a response that they cannot read.
            raise RetryableError(f"{type(error).__name__}: {error}"[:200]) from error

    def _named_wait(self) -> float | None:
        headers = self._exchange.last_response_headers or {}
        after = next((str(value) for name, value in dict(headers).items() if name.lower() == "retry-after"), "")
        return float(after) if after.isdigit() else None

    def _open(self) -> Any:
        exchange = getattr(self._ccxt, self._venue)(
            {"timeout": int(self._settings.timeout_seconds * 1000), "enableRateLimit": True}
        )
        exchange.has["fetchCurrencies"] = False  # needs a key on some exchanges, and nothing here needs it
        exchange.options["fetchMarkets"] = (
            {"types": ["spot", "linear"]} if self._venue == "binance" else exchange.options.get("fetchMarkets")
        )
        base = self._settings.url_of(self._venue)
        if base:
            exchange.urls["api"] = _moved(exchange.urls["api"], base)
        exchange.throttle, exchange.on_rest_response = self._paced, self._received
        return exchange

    def _paced(self, cost: float | None = None) -> None:
        """In place of the library's own pause before each request: ``cost`` tokens of the limiter."""
        for _ in range(max(round(cost or 1), 1)):
            self._bucket.take()
        self.traffic.count_request()

    def _received(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *request: Any) -> str:
        """The body of a response; of one that is no JSON the library's parsers would make an empty list."""
        if code < 400:
            try:
                json.loads(body)
            except ValueError as error:
                raise self._ccxt.BadResponse(f"{len(body)} characters that are no JSON") from error
        return body.strip()

    def _fetched_at(self) -> pd.Timestamp:
        return pd.Timestamp(to_naive(self.now())).as_unit("us")


def _library(venue: str, grid: Grid) -> Any:
    try:
        import ccxt
    except ImportError as error:
        raise ExperimentError(
            f"the live feed of {venue} needs the extra 'ccxt': pip install 'crossattn[ccxt]'; or bring its candles as files: "
            f"feed.kind 'files', and in feed.folder {venue}_{grid.bar}/SYMBOL.parquet"
        ) from error
    return ccxt


def _checked(rows: Any) -> list[list[Any]]:
    """Candles as lists of six; what is none is an answer that the next try may better."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 and row[0] is not None for row in rows):
        raise TypeError("no list of candles")
    return rows


def _class_of(market: dict[str, Any]) -> str:
    return "spot" if market.get("spot") else "linear" if market.get("swap") and market.get("linear") else ""


def _bare(name: str) -> str:
    """A market's name without the signs between its parts: 'BTC/USDT:USDT' and 'BTC-USDT' alike."""
    return re.sub(r"[^A-Z0-9]", "", name.split(":")[0].upper())


def _is_refusal(error: Exception) -> bool:
    return bool(re.search(r"\b(403|418|451)\b|restricted location|region|banned", str(error)))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:160]


def _moved(urls: Any, base: str) -> Any:
    """The library's addresses on another host, their paths kept."""
    if isinstance(urls, dict):
        return {name: _moved(url, base) for name, url in urls.items()}
    return base + urlsplit(urls).path if isinstance(urls, str) else urls


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
