"""Opening a feed: the one place that chooses where candles come from."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment

__all__ = ["open_feed", "wall_clock"]


def wall_clock() -> datetime:
    """The machine's clock, aware UTC: the default at the outermost edge, never called from inside."""
    return datetime.now(UTC)


def open_feed(experiment: Experiment, *, clock: Callable[[], datetime] = wall_clock) -> Feed:
    """The feed that ``experiment.feed`` names. Opening asks nothing of any source.

    Args:
        clock: aware UTC; sources with a clock of their own (Bybit) use theirs.
    """
    settings = experiment.feed
    if settings.kind == "simulated":
        from crossattn_core.candles.feeds.simulated import SimulatedFeed

        return SimulatedFeed(settings.simulated, experiment.assets, experiment.period, clock)
    if settings.kind == "files":
        from crossattn_core.candles.feeds.files import FilesFeed

        if not settings.folder:
            raise ExperimentError("feed.folder is empty; feed.kind 'files' needs the root folder of the candle files")
        return FilesFeed(Path(settings.folder), clock)
    from crossattn_core.candles.feeds.api import ApiFeed

    return ApiFeed(settings, clock)
