"""Exchanges that are opened through ccxt: one line each; ``ccxt_venue`` describes any other that it knows."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from crossattn_core.candles.feeds.ccxt import CcxtFeed
from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.experiment import FeedSettings, VenueCosts
from crossattn_core.grid import Grid, bar_names
from crossattn_core.trading_calendar import ALWAYS_OPEN
from crossattn_core.universe import VENUES, Kind, Venue

__all__ = ["ccxt_venue", "open_ccxt"]


def open_ccxt(venue: str) -> Callable[[FeedSettings, Callable[[], datetime], Backoff, Grid], Feed]:
    """``Venue.open_api`` of an exchange that ccxt knows by the same name."""
    return lambda settings, clock, backoff, grid: CcxtFeed(venue, settings, clock, grid, backoff)


def ccxt_venue(name: str, categories: Sequence[str], costs: VenueCosts, **fixed: Any) -> Venue:
    """The description of an exchange that ccxt knows by ``name``; ``fixed``: other fields of ``Venue``.

    Args:
        categories: of 'spot' and 'linear', the default first. 'linear' only where its volume counts coins.
    """
    series: dict[str, tuple[Kind, ...]] = {"spot": ("candles",), "linear": ("candles", "funding")}
    return Venue(
        calendar=lambda asset: ALWAYS_OPEN,
        categories={category: series[category] for category in categories},
        market="crypto",
        open_api=open_ccxt(name),
        costs=costs,
        **{"units": "volume in coins", "requests_per_second": 20.0} | fixed,
    )


_TAKER = {
    "okx": (("linear", "spot"), 5.0),
    "bitget": (("linear", "spot"), 6.0),
    "hyperliquid": (("linear",), 4.5),
    "coinbase": (("spot",), 60.0),
    "kraken": (("spot",), 40.0),
    "bitstamp": (("spot",), 40.0),
    "bitfinex": (("spot",), 20.0),
    "gemini": (("spot",), 40.0),
    "kucoin": (("spot",), 10.0),
    "gate": (("spot",), 20.0),
    "htx": (("spot",), 20.0),
    "mexc": (("spot",), 5.0),
    "cryptocom": (("spot",), 25.0),
}
"""Exchange -> its classes, and the taker's fee of the lowest tier in basis points, as published in 2025."""
_KRAKEN_ROWS = 720
"""Kraken gives its newest candles and no older ones, whatever the range."""

for _name, (_categories, _fee) in _TAKER.items():
    _costs = VenueCosts(fee_bps=_fee, half_spread_bps=1.0, slippage_bps=3.5)
    _reach = {bar: _KRAKEN_ROWS * Grid.model_validate({"bar": bar}).step / timedelta(days=1) for bar in bar_names()}
    VENUES.add(_name, ccxt_venue(_name, _categories, _costs, **({"reach_days": _reach} if _name == "kraken" else {})))
