"""Binance, spot and USDT perpetuals: through ccxt where the extra is installed, from its archives as files everywhere."""

from datetime import date

from crossattn_core.candles.feeds.ccxt_exchanges import ccxt_venue
from crossattn_core.experiment import VenueCosts
from crossattn_core.universe import VENUES

VENUES.add(
    "binance",
    ccxt_venue(
        "binance",
        ("linear", "spot"),
        VenueCosts(fee_bps=5.0, half_spread_bps=1.0, slippage_bps=3.5),
        since=date(2017, 7, 1),
    ),
)
