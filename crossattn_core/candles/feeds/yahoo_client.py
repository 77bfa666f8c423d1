"""One request to Yahoo's chart endpoint through yfinance: a session, the server's clock, every error mapped to ours.

What this module knows about yfinance:

- it keeps *failed* responses of past ranges in a cache: it is emptied before every request;
- errors are raised only when ``hide_exceptions`` is off and ``Ticker.history`` is used;
- a candle counts when it closed by the server's ``Date``, not by the machine's clock.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd

from crossattn_core.candles.feeds.feed import Traffic
from crossattn_core.candles.feeds.retry import Backoff, CircuitBreaker, RetryableError, TokenBucket, with_retries
from crossattn_core.days import to_aware, to_naive
from crossattn_core.errors import FeedBlockedError, PermanentFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.trading_calendar import exchange_timezone
from crossattn_core.universe import Asset

__all__ = ["YahooChart", "YahooClient"]

_BURST = 8.0
_BLOCK_REST_SECONDS = 600.0
_CHART = "/v8/finance/chart/"
_PASSING = {401, 408, 425}
"""Client errors that a later attempt does not meet: a stale session, a time-out, a request that came too early."""


@dataclass(frozen=True)
class YahooChart:
    """What one response holds."""

    history: pd.DataFrame
    """Rows as yfinance gives them; empty where the source has nothing there."""
    dividends: pd.Series
    """Amounts by the instant that Yahoo gives, naive UTC; NaN for one in another currency than the price."""
    splits: pd.Series
    """Ratios by the instant that Yahoo gives, naive UTC."""
    first_trade: datetime | None
    """Of the asset, naive UTC."""


class YahooClient:
    """yfinance behind a rate limit, retries and a circuit breaker.

    Args:
        settings: another base URL, time-out, attempts.
        clock: aware UTC; used until the server's first response brings its own.
        traffic: counts what is sent.
        backoff: clock, sleep and jitter for back-off.
    """

    def __init__(self, settings: FeedSettings, clock: Callable[[], datetime], traffic: Traffic, backoff: Backoff) -> None:
        self._settings, self._clock, self._traffic, self._backoff = settings, clock, traffic, backoff
        self._bucket = TokenBucket(settings.request_rate("yahoo"), _BURST, backoff)
        self._breaker = CircuitBreaker(_BLOCK_REST_SECONDS, backoff)
        self._server_time: tuple[datetime, float] | None = None
        self._status = 0
        self._response: Any = None
        self._session: Any = None

    def now(self) -> datetime:
        """The server's clock by its newest response, plus the time since; the injected one before that."""
        if self._server_time is None:
            return self._clock()
        moment, received_at = self._server_time
        return moment + timedelta(seconds=self._backoff.monotonic() - received_at)

    def chart(self, asset: Asset, first: datetime, last: datetime, interval: str, *, dividend_adjusted: bool) -> YahooChart:
        """The chart of [first, last), naive UTC, adjusted for splits and, where asked, for dividends.

        Raises:
            PermanentFeedError: the symbol is unknown, or Yahoo responded with another.
            TransientFeedError: every attempt failed in a way that a later one may not.
            FeedBlockedError: Yahoo refuses this address for a while.
        """
        return with_retries(
            lambda: self._attempt(asset, first, last, interval, dividend_adjusted),
            asset.asset_id,
            self._settings.max_attempts,
            self._traffic,
            self._backoff,
        )

    def _attempt(self, asset: Asset, first: datetime, last: datetime, interval: str, dividend_adjusted: bool) -> YahooChart:
        """One call of yfinance, its errors mapped to ours."""
        import yfinance
        from yfinance import exceptions
        from yfinance.data import YfData

        self._breaker.check()
        yfinance.config.debug.hide_exceptions = False
        ticker = yfinance.Ticker(asset.symbol, session=self._open_session())
        # Known from the calendar: saves yfinance a probe per symbol, whose failures it would report as "delisted".
        ticker._tz = exchange_timezone(asset.calendar)
        YfData.cache_get.cache_clear()
        self._status, self._response = 0, None
        try:
            with warnings.catch_warnings():
                # Warnings of pandas about its next version are for yfinance, not for our user.
                warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)
                history = ticker.history(
                    start=to_aware(first),
                    end=to_aware(last),
                    interval=interval,
                    auto_adjust=dividend_adjusted,
                    actions=False,
                    prepost=False,
                    timeout=self._settings.timeout_seconds,
                )
            named = ticker.history_metadata.get("symbol", asset.symbol)
            if named != asset.symbol:
                raise PermanentFeedError(f"{asset.asset_id}: Yahoo responded with {named}; nothing of it was stored")
            metadata, events = ticker.history_metadata, ticker._lazy_load_price_history()
            first_trade = metadata.get("firstTradeDate")
            return YahooChart(
                history,
                # Not actions=True's column: yfinance hangs a dividend on the day before where the first bar is missing.
                _amounts(events._dividends, metadata["currency"]),
                _by_naive_instant(events._splits).astype(float),
                None if first_trade is None else to_naive(pd.Timestamp(first_trade).to_pydatetime()),
            )
        except exceptions.YFRateLimitError as error:
            raise RetryableError("HTTP 429", 5.0) from error
        except exceptions.YFPricesMissingError as error:
            if self._status == 403:
                raise self._blocked(asset) from error
            if error.yahoo_reason is None and self._status < 400:
                if not _is_chart(self._response):
                    raise RetryableError(f"a response of another shape (HTTP {self._status})") from error
                # The source has nothing there: an empty response, not a failure.
                return YahooChart(pd.DataFrame(), _by_naive_instant(None), _by_naive_instant(None), None)
            if self._status >= 500 or self._status in _PASSING:
                raise RetryableError(f"HTTP {self._status}") from error
            raise PermanentFeedError(
                f"{asset.asset_id}: Yahoo says {error.yahoo_reason or error.rationale!r} (HTTP {self._status}); check the symbol"
            ) from error
        except exceptions.YFTzMissingError as error:
            raise PermanentFeedError(f"{asset.asset_id}: Yahoo knows no time zone for it; check the symbol") from error
        except (exceptions.YFException, OSError, json.JSONDecodeError, ValueError, KeyError, TypeError, IndexError) as error:
            # yfinance has no error of its own for a response that it cannot read: any of these may come out of its parser.
            if self._status == 403:
                raise self._blocked(asset) from error
            status = f" (HTTP {self._status})" if self._status else ""
            raise RetryableError(f"{type(error).__name__}{status}: {error}"[:200]) from error

    def _blocked(self, asset: Asset) -> FeedBlockedError:
        return self._breaker.trip(
            f"{asset.asset_id}: Yahoo refuses this address (HTTP 403); wait ten minutes, or set feed.yahoo_url to another host"
        )

    def _open_session(self) -> Any:
        if self._session is None:
            self._session = _session(self)
        return self._session

    def _sent(self, url: str) -> str:
        """Account for a request and point it at the configured host."""
        if _CHART in url:
            self._bucket.take()
            self._traffic.count_request()
        another = self._settings.url_of("yahoo")
        if not another:
            return url
        base, parts = urlsplit(another), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))

    def _received(self, url: str, response: Any) -> None:
        if _CHART in url:
            self._status, self._response = response.status_code, response
        stamp = response.headers.get("Date")
        if stamp:
            try:
                self._server_time = (parsedate_to_datetime(stamp).astimezone(UTC), self._backoff.monotonic())
            except ValueError:
                return


def _is_chart(response: Any) -> bool:
    """Whether a response is a chart, be it one without candles."""
    try:
        return "symbol" in response.json()["chart"]["result"][0]["meta"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def _amounts(dividends: pd.Series | pd.DataFrame | None, currency: str) -> pd.Series:
    """yfinance's dividends as amounts by instant; NaN for one in another currency than the price."""
    if isinstance(dividends, pd.DataFrame) and not dividends.empty:
        dividends = dividends["Dividends"].where(dividends["currency"].isin(["", currency]))
    return _by_naive_instant(dividends)


def _by_naive_instant(events: pd.Series | pd.DataFrame | None) -> pd.Series:
    """Events of yfinance by naive UTC instant; an empty series where there are none."""
    if not isinstance(events, pd.Series) or events.empty:
        return pd.Series(dtype=float, index=pd.DatetimeIndex([]))
    index = pd.DatetimeIndex(events.index)
    return events.set_axis(index.tz_convert("UTC").tz_localize(None)) if index.tz is not None else events


def _session(client: YahooClient) -> Any:
    """yfinance's own kind of session (it imitates a browser where it can), watched."""
    from yfinance._http import new_session

    plain = new_session()
    base: Any = type(plain)

    class Watched(base):
        def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
            response = super().request(method, client._sent(url), *args, **options)
            client._received(url, response)
            return response

    options = {"impersonate": "chrome"} if hasattr(plain, "impersonate") else {}
    watched = Watched(**options)
    watched.headers.update(plain.headers)
    return watched
