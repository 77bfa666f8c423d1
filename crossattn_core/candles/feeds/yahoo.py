"""Yahoo's chart endpoint through yfinance as a feed: stocks and funds, from a minute to a day.

What this module knows about the source:

- how far back candles reach depends on their length (``_REACH_DAYS``); there are none of 3 minutes or 4 hours;
- yfinance keeps *failed* responses of past ranges in a cache: it is emptied before every request;
- errors are raised only when ``hide_exceptions`` is off and ``Ticker.history`` is used; each is mapped to ours;
- hour bars open at :30 and the last of a session lasts 30 minutes; half days may lack their closing bar; a closing
  print can follow the bell. Closing instants come from the exchange's calendar, never from the next row;
- a candle counts when it closed by the server's ``Date``, not by the machine's clock;
- the response that brings candles brings their dividends too, each stamped with the opening bell of its ex-date. Intraday
  prices are adjusted for splits and never for dividends, so these are cash that a holder gets; daily ones are adjusted for
  dividends when yfinance's ``auto_adjust`` is on, and then there is nothing left to pay.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import Feed, empty_rows, known_rows
from crossattn_core.candles.feeds.retry import Backoff, CircuitBreaker, RetryableError, TokenBucket, with_retries
from crossattn_core.candles.feeds.yahoo_symbols import calendar_of, category_of
from crossattn_core.candles.scale import Split
from crossattn_core.days import bounds, to_aware, to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import FeedSettings, VenueCosts
from crossattn_core.grid import Grid
from crossattn_core.trading_calendar import (
    closing_times,
    exchange_timezone,
    expected_bars,
    opening_bells,
    session_bounds,
    session_days,
)
from crossattn_core.universe import VENUES, Asset, Venue

__all__ = ["YahooFeed"]

_REACH_DAYS = {"1m": 8, "5m": 60, "15m": 60, "30m": 60, "1h": 730, "1d": 36_500}
"""How far back each interval goes; Yahoo counts its own way, so what is asked for is one day less."""
_WORDS = {"1h": "hourly", "1d": "daily"}
_BURST = 8.0
_BLOCK_REST_SECONDS = 600.0
_CHART = "/v8/finance/chart/"
_PASSING = {401, 408, 425}
"""Client errors that a later attempt does not meet: a stale session, a time-out, a request that came too early."""


class YahooFeed(Feed):
    """Candles of listed shares and funds.

    Args:
        settings: another base URL, time-out, attempts, and whether prices are adjusted.
        clock: aware UTC; used until the server's first response brings its own.
        interval: a key of ``_REACH_DAYS``; '1d' is one candle a session, from bell to bell.
        backoff: clock, sleep and jitter for back-off.
    """

    kind = "api"
    gap_attempts = 3
    rechecks_gaps = True
    parallel = 1  # yfinance is one session behind a singleton

    def __init__(
        self,
        settings: FeedSettings,
        clock: Callable[[], datetime],
        *,
        interval: str = "1h",
        backoff: Backoff | None = None,
    ) -> None:
        if interval not in _REACH_DAYS:
            raise ExperimentError(
                f"Yahoo has no candles of {interval}; choose from {', '.join(_REACH_DAYS)}: set feed.interval to a shorter one "
                "that divides the bar (1m for 3m, 1h for 4h), and bars are put together from it"
            )
        super().__init__()
        self._settings, self._clock, self._interval = settings, clock, interval
        self._step = Grid.model_validate({"bar": interval}).step
        self._backoff = backoff or Backoff()
        self._bucket = TokenBucket(settings.request_rate("yahoo"), _BURST, self._backoff)
        self._breaker = CircuitBreaker(_BLOCK_REST_SECONDS, self._backoff)
        self._server_time: tuple[datetime, float] | None = None
        self._status = 0
        self._response: Any = None
        self._first_trade: dict[str, datetime] = {}
        self._fetched_dividends: dict[str, list[_FetchedDividends]] = {}
        self._newest_dividends = _amounts(None)
        self._splits: dict[str, dict[datetime, Split]] = {}
        self._session: Any = None

    def now(self) -> datetime:
        """The server's clock by its newest response, plus the time since; the injected one before that."""
        if self._server_time is None:
            return self._clock()
        moment, received_at = self._server_time
        return moment + timedelta(seconds=self._backoff.monotonic() - received_at)

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """One request brings all that Yahoo keeps."""
        return _REACH_DAYS[self._interval] - 1

    def origin(self, asset: Asset) -> dict[str, object]:
        """Host, interval and whether prices are adjusted."""
        url = self._settings.url_of("yahoo") or "yfinance"
        return {"url": url, "interval": self._interval, "dividend_adjusted": self._is_dividend_adjusted}

    def listed(self, asset: Asset) -> datetime | None:
        """The first trade, which Yahoo gives with the prices; none before they were fetched."""
        return self._first_trade.get(asset.asset_id)

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Closed candles with closed_at in (start, end], adjusted as ``feed.adjust_splits`` sets.

        Raises:
            PermanentFeedError: the range starts before Yahoo's reach, or the symbol is unknown.
        """
        bars = expected_bars(asset.calendar, start, end, self._step)
        if not len(bars):
            return empty_rows("candles")  # weekends and holidays: Yahoo responds to them with an error
        self._within_reach(asset, bars.opened_T[0].item())
        # Up to and including ``end``: a session that has just opened has no closed candle yet, but may owe a dividend.
        first, last = bars.opened_T[0].item(), end + timedelta(seconds=1)
        if self._interval == "1d":
            first, last = first - timedelta(days=1), last + timedelta(days=1)
        history = self._history(asset, first, last, self._interval)
        self._fetched_dividends.setdefault(asset.asset_id, []).append(_FetchedDividends(start, end, self._newest_dividends))
        if history.empty:
            return empty_rows("candles")
        return known_rows("candles", self._as_candles(asset, history), asset, start, end, to_naive(self.now()))

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end], out of the responses that brought the candles where they cover the range.

        None where prices are adjusted for dividends. A dividend in another currency than the price has no amount.
        """
        opens_S = session_bounds(asset.calendar)[0]

        def sessions(after: datetime, until: datetime) -> int:
            first, stop = np.searchsorted(opens_S, np.array([after, until], dtype="datetime64[us]"), side="right")
            return stop - first

        if self._is_dividend_adjusted or not sessions(start, end):
            return empty_rows("dividends")
        held = next(
            (p for p in self._fetched_dividends.get(asset.asset_id, ()) if p.start <= start and not sessions(p.end, end)), None
        )
        if held is None:
            self._history(asset, start, end + timedelta(days=1), "1d")  # events of any age, unlike hourly candles
            held = _FetchedDividends(start, end, self._newest_dividends)
        opened_T = opening_bells(asset.calendar, held.amounts.index.to_numpy().astype("datetime64[us]"))
        rows = pd.DataFrame({"ex_at": opened_T, "amount": held.amounts.to_numpy(dtype=float)})
        return known_rows("dividends", rows, asset, start, end, to_naive(self.now()))

    def splits(self, asset: Asset) -> tuple[Split, ...]:
        """Every split that came with the asset's candles so far."""
        return tuple(self._splits.get(asset.asset_id, {}).values())

    def reach(self, asset: Asset) -> datetime | None:
        """The first midnight from which on a request is not refused."""
        kept = to_naive(self.now()) - timedelta(days=_REACH_DAYS[self._interval] - 1)
        return bounds(kept.date() + timedelta(days=1))[0]

    def _note_splits(self, asset: Asset, ratios: pd.Series | None) -> None:
        if ratios is None or ratios.empty:
            return
        index = pd.DatetimeIndex(ratios.index)
        stamps = (
            (index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index).to_numpy().astype("datetime64[us]")
        )
        at_S = opening_bells(asset.calendar, stamps)
        known = self._splits.setdefault(asset.asset_id, {})
        known |= {at: Split(at, float(ratio)) for at, ratio in zip(at_S.tolist(), ratios.tolist(), strict=True) if ratio > 0}

    @property
    def _is_dividend_adjusted(self) -> bool:
        return self._interval == "1d" and self._settings.adjust_splits

    def _history(self, asset: Asset, first: datetime, last: datetime, interval: str) -> pd.DataFrame:
        """Rows of one request; its dividends lie in ``_newest_dividends``."""
        attempts = self._settings.max_attempts
        return with_retries(
            lambda: self._attempt(asset, first, last, interval), asset.asset_id, attempts, self.traffic, self._backoff
        )

    def _within_reach(self, asset: Asset, first_open: datetime) -> None:
        reach, words = _REACH_DAYS[self._interval], _WORDS.get(self._interval, self._interval)
        earliest = to_naive(self.now()) - timedelta(days=reach)
        if first_open < earliest:
            raise PermanentFeedError(
                f"{asset.asset_id}: Yahoo keeps {words} candles for {reach} days; the request starts on {first_open:%Y-%m-%d}, "
                f"the earliest now is {earliest + timedelta(days=1):%Y-%m-%d}: set period.start to that or later, "
                "set feed.skip_beyond_reach to leave older days out, "
                "choose a longer bar (hourly candles reach back 730 days, daily ones to the listing), "
                "or bring older candles with feed.kind 'files'"
            )

    def _as_candles(self, asset: Asset, history: pd.DataFrame) -> pd.DataFrame:
        rows = history.rename(columns=str.lower)[["open", "high", "low", "close", "volume"]].astype(float)
        index = pd.DatetimeIndex(history.index)
        if self._interval == "1d":
            stamps = index.tz_localize(None).to_numpy().astype("datetime64[D]").astype("datetime64[us]")
            opened, closed = session_days(asset.calendar, stamps)
        else:
            opened = index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
            closed = closing_times(asset.calendar, opened, self._step)
        return rows.assign(opened_at=opened, closed_at=closed, turnover=np.nan)

    def _attempt(self, asset: Asset, first: datetime, last: datetime, interval: str) -> pd.DataFrame:
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
        self._status, self._response, self._newest_dividends = 0, None, _amounts(None)
        try:
            with warnings.catch_warnings():
                # Warnings of pandas about its next version are for yfinance, not for our user.
                warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)
                history = ticker.history(
                    start=to_aware(first),
                    end=to_aware(last),
                    interval=interval,
                    auto_adjust=self._is_dividend_adjusted,
                    actions=False,
                    prepost=False,
                    timeout=self._settings.timeout_seconds,
                )
            named = ticker.history_metadata.get("symbol", asset.symbol)
            if named != asset.symbol:
                raise PermanentFeedError(f"{asset.asset_id}: Yahoo responded with {named}; nothing of it was stored")
            self._note_splits(asset, ticker._lazy_load_price_history()._splits)
            first_trade = ticker.history_metadata.get("firstTradeDate")
            if first_trade is not None:
                self._first_trade[asset.asset_id] = to_naive(pd.Timestamp(first_trade).to_pydatetime())
            # Not the column that actions=True gives: yfinance hangs a dividend on the day before where the first bar is missing.
            self._newest_dividends = _amounts(ticker._lazy_load_price_history()._dividends, ticker.history_metadata["currency"])
            return history
        except exceptions.YFRateLimitError as error:
            raise RetryableError("HTTP 429", 5.0) from error
        except exceptions.YFPricesMissingError as error:
            if self._status == 403:
                raise self._blocked(asset) from error
            if error.yahoo_reason is None and self._status < 400:
                if not _is_chart(self._response):
                    raise RetryableError(f"a response of another shape (HTTP {self._status})") from error
                return pd.DataFrame()  # the source has nothing there: an empty response, not a failure
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

    def _blocked(self, asset: Asset) -> Exception:
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
            self.traffic.count_request()
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


VENUES.add(
    "yahoo",
    Venue(
        calendar=calendar_of,
        categories={"equity": ("candles", "dividends"), **dict.fromkeys(("index", "currency", "future", "crypto"), ("candles",))},
        category_of=category_of,
        market="stocks",
        markets={"currency": "currencies", "future": "futures", "crypto": "crypto"},
        open_api=lambda settings, clock, backoff, grid: YahooFeed(settings, clock, interval=grid.bar, backoff=backoff),
        costs=VenueCosts(fee_bps=3.0, half_spread_bps=2.0, slippage_bps=5.0, borrow_bps_per_year=100.0),
        requests_per_second=4.0,
        reach_days=_REACH_DAYS,
        units="volume in shares; prices in the currency of the exchange, in pence in London, in cents in Johannesburg",
    ),
)


@dataclass(frozen=True)
class _FetchedDividends:
    """The dividends that came with one response, for ex_at in (start, end]."""

    start: datetime
    end: datetime
    amounts: pd.Series
    """By the instant that Yahoo gives, naive UTC."""


def _is_chart(response: Any) -> bool:
    """Whether a response is a chart, be it one without candles."""
    try:
        return "symbol" in response.json()["chart"]["result"][0]["meta"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def _amounts(dividends: pd.Series | pd.DataFrame | None, currency: str | None = None) -> pd.Series:
    """yfinance's dividends as amounts by naive UTC instant; NaN for one in another currency than the price."""
    if dividends is None or dividends.empty:
        return pd.Series(dtype=float, index=pd.DatetimeIndex([]))
    if isinstance(dividends, pd.DataFrame):
        dividends = dividends["Dividends"].where(dividends["currency"].isin(["", currency]))
    index = pd.DatetimeIndex(dividends.index)
    return dividends.set_axis(index.tz_convert("UTC").tz_localize(None)) if index.tz is not None else dividends


def _session(feed: YahooFeed) -> Any:
    """yfinance's own kind of session (it imitates a browser where it can), watched."""
    from yfinance._http import new_session

    plain = new_session()
    base: Any = type(plain)

    class Watched(base):
        def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
            response = super().request(method, feed._sent(url), *args, **options)
            feed._received(url, response)
            return response

    options = {"impersonate": "chrome"} if hasattr(plain, "impersonate") else {}
    watched = Watched(**options)
    watched.headers.update(plain.headers)
    return watched
