"""Ingests from a scripted feed, for tests: two perpetuals and a stock over March 2025, fetched long after."""

from datetime import date, datetime

from crossattn_core.candles.ingest.ingest import IngestedDay, ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset
from tests.candles.scripted import ScriptedFeed, plain_candles

BTC = Asset(venue="bybit", symbol="BTCUSDT")
ETH = Asset(venue="bybit", symbol="ETHUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
FIRST, LAST = date(2025, 3, 1), date(2025, 3, 31)
LONG_AFTER = datetime(2025, 6, 1)


def feed_of(*assets: Asset, **knobs) -> ScriptedFeed:
    tables = {asset.asset_id: plain_candles(asset, datetime(2025, 2, 1), datetime(2025, 5, 1)) for asset in assets}
    return ScriptedFeed(tables, knobs.pop("now", LONG_AFTER), **knobs)


def ingest_candles(feed: ScriptedFeed, lake: Lake, *assets: Asset, first=FIRST, last=LAST, **more) -> list[IngestedDay]:
    return ingest("candles", feed, lake, assets, first, last, settings=FeedSettings(), **more)
