"""Binance's USDT perpetuals: read from files, without a live feed."""

from collections.abc import Callable
from datetime import date, datetime

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import FeedSettings, VenueCosts
from crossattn_core.grid import Grid
from crossattn_core.trading_calendar import ALWAYS_OPEN
from crossattn_core.universe import VENUES, Venue

__all__ = ["no_live_feed"]


def no_live_feed(settings: FeedSettings, clock: Callable[[], datetime], backoff: Backoff, grid: Grid) -> Feed:
    """Refuse to open one.

    Raises:
        ExperimentError: always; says how its candles come in.
    """
    raise ExperimentError(
        "binance has no live feed; bring its candles as files: "
        f"feed.kind 'files', and in feed.folder binance_{grid.bar}/SYMBOL.parquet"
    )


VENUES.add(
    "binance",
    Venue(
        calendar=lambda asset: ALWAYS_OPEN,
        categories={"linear": ("candles", "funding"), "spot": ("candles",)},
        market="crypto",
        since=date(2017, 7, 1),
        open_api=no_live_feed,
        costs=VenueCosts(fee_bps=5.0, half_spread_bps=1.0, slippage_bps=3.5),
    ),
)
