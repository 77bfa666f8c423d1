"""A fetch in a process of its own, so that a test can kill it."""

import multiprocessing
import random
import time
from datetime import date
from multiprocessing.context import ForkServerContext
from pathlib import Path

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.retry import Backoff
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import FeedSettings
from crossattn_core.universe import Asset

PATIENT = {"requests_per_second": 120, "max_attempts": 20, "timeout_seconds": 5}


def hurried() -> Backoff:
    """Back-off without the backoff: the servers of these tests forgive at once."""
    return Backoff(sleep=lambda seconds: time.sleep(min(seconds, 0.001)), jitter=random.Random(1).random)


def ingest_candles(root: Path, url: str, assets: tuple[Asset, ...], first: date, last: date) -> None:
    """Fetch from a Bybit server at ``url`` into the lake at ``root``."""
    feed = BybitFeed(FeedSettings(bybit_url=url, **PATIENT), backoff=hurried())
    ingest("candles", feed, Lake(root, "api"), assets, first, last, settings=FeedSettings())


def processes() -> ForkServerContext:
    """Where workers come from: a server process without threads, so that no lock is copied while it is held."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
