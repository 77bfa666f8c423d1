"""The venues of an experiment on 127.0.0.1, each serving candles of the embedded market."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.days import bounds
from crossattn_core.experiment import Experiment, Period
from tests.servers.bybit import BybitServer, Listing
from tests.servers.yahoo import YahooServer

__all__ = ["serving"]


@contextmanager
def serving(experiment: Experiment, last: date, clock: Callable[[], datetime]) -> Iterator[dict[str, str]]:
    """Venue -> URL of a server with its assets' candles and funding up to ``last``, as of ``clock`` (aware UTC)."""
    period = Period(start=experiment.period.start, end=last)
    market = experiment.feed.simulated.model_copy(update={"leads": (), "missing_share": 0.0})
    feed = SimulatedFeed(market, experiment.assets, period, None, experiment.candle_grid)
    start, end = bounds(period.start)[0], bounds(last)[1]

    def now() -> datetime:
        return clock().astimezone(UTC).replace(tzinfo=None)

    listings = {
        (asset.category, asset.symbol): Listing(feed.candles(asset, start, end), feed.funding(asset, start, end), start)
        for asset in experiment.assets_on("bybit")
    }
    tables = {asset.symbol: feed.candles(asset, start, end) for asset in experiment.assets_on("yahoo")}
    with BybitServer(listings, now) as bybit, YahooServer(tables, now) as yahoo:
        yield {"bybit": bybit.url, "yahoo": yahoo.url}
