"""A fetch in a process of its own, so that a test can kill it."""

import multiprocessing
import random
import time
from datetime import date
from multiprocessing.context import ForkServerContext
from pathlib import Path

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.retry import Waiting
from crossattn_core.candles.ingest.ingest import take_in_candles
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset

PATIENT = {"requests_per_second": 120, "max_attempts": 20, "timeout_seconds": 5}


def hurried() -> Waiting:
    """Back-off without the waiting: the servers of these tests forgive at once."""
    return Waiting(sleep=lambda seconds: time.sleep(min(seconds, 0.001)), chance=random.Random(1).random)


def take_in(root: Path, url: str, assets: tuple[Asset, ...], first: date, last: date) -> None:
    """Fetch from a Bybit server at ``url`` into the lake at ``root``."""
    feed = BybitFeed(FeedSettings(bybit_url=url, **PATIENT), waiting=hurried())
    take_in_candles(feed, Lake(root, "api"), assets, first, last, settings=FeedSettings())


def processes() -> ForkServerContext:
    """Where workers come from: a server process without threads, so that no lock is copied while it is held."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
