"""Yahoo's charts as a feed: stocks and funds, from a minute to a day. How a chart is asked for: ``yahoo_client``.

What this module knows about the source:

- how far back candles reach depends on their length (``_REACH_DAYS``); there are none of 3 minutes or 4 hours;
- hour bars open at :30 and the last of a session lasts 30 minutes; half days may lack their closing bar; a closing
  print can follow the bell. Closing instants come from the exchange's calendar, never from the next row;
- the response that brings candles brings their dividends too, each stamped with the opening bell of its ex-date. Intraday
  prices are adjusted for splits and never for dividends, so these are cash that a holder gets; daily ones are adjusted for
  dividends when yfinance's ``auto_adjust`` is on, and then there is nothing left to pay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import Feed, empty_rows, known_rows
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.feeds.yahoo_client import YahooChart, YahooClient
from crossattn_core.candles.feeds.yahoo_symbols import calendar_of, category_of
from crossattn_core.candles.scale import Split
from crossattn_core.days import bounds, to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import FeedSettings, VenueCosts
from crossattn_core.grid import Grid
from crossattn_core.trading_calendar import (
    closing_times,
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


@dataclass(frozen=True)
class _FetchedDividends:
    """The dividends that came with one response, for ex_at in (start, end]."""

    start: datetime
    end: datetime
    amounts: pd.Series
    """By the instant that Yahoo gives, naive UTC."""


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
        self._settings, self._interval = settings, interval
        self._step = Grid.model_validate({"bar": interval}).step
        self._client = YahooClient(settings, clock, self.traffic, backoff or Backoff())
        self._first_trade: dict[str, datetime] = {}
        self._fetched_dividends: dict[str, list[_FetchedDividends]] = {}
        self._splits: dict[str, dict[datetime, Split]] = {}

    def now(self) -> datetime:
        """The server's clock by its newest response, plus the time since; the injected one before that."""
        return self._client.now()

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
        chart = self._chart(asset, first, last, self._interval)
        self._fetched_dividends.setdefault(asset.asset_id, []).append(_FetchedDividends(start, end, chart.dividends))
        if chart.history.empty:
            return empty_rows("candles")
        return known_rows("candles", self._as_candles(asset, chart.history), asset, start, end, to_naive(self.now()))

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
            # Daily: events of any age, unlike those of hourly candles.
            held = _FetchedDividends(start, end, self._chart(asset, start, end + timedelta(days=1), "1d").dividends)
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

    @property
    def _is_dividend_adjusted(self) -> bool:
        return self._interval == "1d" and self._settings.adjust_splits

    def _chart(self, asset: Asset, first: datetime, last: datetime, interval: str) -> YahooChart:
        """One request; what it says of splits and of the first trade is kept."""
        chart = self._client.chart(asset, first, last, interval, dividend_adjusted=self._is_dividend_adjusted)
        if len(chart.splits):
            at_S = opening_bells(asset.calendar, chart.splits.index.to_numpy().astype("datetime64[us]"))
            known = self._splits.setdefault(asset.asset_id, {})
            known |= {at: Split(at, ratio) for at, ratio in zip(at_S.tolist(), chart.splits.tolist(), strict=True) if ratio > 0}
        if chart.first_trade is not None:
            self._first_trade[asset.asset_id] = chart.first_trade
        return chart

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
