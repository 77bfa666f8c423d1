"""A kind of feed and a venue are found by name; one from outside is one function, or one description."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.feeds.registry import FEEDS, open_feed
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment, FeedSettings, load_experiment
from crossattn_core.universe import VENUES, Asset
from tests.candles.scripted import ScriptedFeed, plain_candles

FIRST, LAST = date(2025, 3, 1), date(2025, 3, 10)
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def open_scripted(experiment: Experiment, clock) -> Feed:
    """A feed as a plug-in would register it."""
    span = datetime(2025, 2, 1), datetime(2025, 5, 1)
    tables = {asset.asset_id: plain_candles(asset, *span) for asset in experiment.assets}
    return ScriptedFeed(tables, clock().replace(tzinfo=None))


def ingested(experiment: Experiment, lake: Lake) -> int:
    feed = open_feed(experiment, clock=lambda: NOW)
    days = ingest("candles", feed, lake, experiment.assets, FIRST, LAST, settings=experiment.feed)
    return sum(day.rows for day in days)


def test_a_feed_from_outside_is_one_function_and_fills_the_lake(tmp_path):
    with FEEDS.temporarily("scripted", open_scripted):
        experiment = Experiment.model_validate({"feed": {"kind": "scripted"}})
        lake = Lake(tmp_path, experiment.feed.kind)
        assert ingested(experiment, lake) == lake.read_candles(None, FIRST, LAST).num_rows > 0


def test_an_unknown_feed_is_refused_with_the_nearest_name():
    with pytest.raises(ExperimentError, match=r"feed\.kind: no feed is called 'simulatd'; did you mean 'simulated'\?"):
        load_experiment(overrides={"feed": {"kind": "simulatd"}})


def test_every_feed_that_is_built_in_is_found():
    assert FEEDS.names() == ("api", "files", "simulated")


def test_a_venue_from_outside_is_one_description(tmp_path):
    """Calendar, categories, series, market and lag come from the description; the stages follow from it."""
    exchange = replace(VENUES.get("bybit"), categories={"perpetual": ("candles", "funding")}, publication_lag_seconds=30)
    with VENUES.temporarily("elsewhere", exchange), FEEDS.temporarily("scripted", open_scripted):
        assets = [{"venue": "elsewhere", "symbol": symbol} for symbol in ("BTCUSDT", "ETHUSDT")]
        experiment = Experiment.model_validate({"assets": assets, "feed": {"kind": "scripted", "simulated": {"leads": []}}})
        assert experiment.assets[0].asset_id == "elsewhere:perpetual:BTCUSDT"
        assert (experiment.assets[0].calendar, experiment.assets[0].market) == ("24/7", "crypto")
        assert experiment.candle_stages == ("candles/elsewhere", "candles/elsewhere_funding")
        assert experiment.feed.publication_lag("elsewhere").total_seconds() == 30
        assert ingested(experiment, Lake(tmp_path, "scripted")) == 2 * 24 * 10


def test_the_live_feed_opens_each_venue_from_its_own_description():
    def open_elsewhere(settings, clock, backoff, grid) -> Feed:
        return ScriptedFeed({}, NOW.replace(tzinfo=None))

    with VENUES.temporarily("elsewhere", replace(VENUES.get("bybit"), open_api=open_elsewhere)):
        feed = open_feed(Experiment.model_validate({"feed": {"kind": "api"}}), clock=lambda: NOW)
        asset = Asset(venue="elsewhere", symbol="BTCUSDT")
        assert feed.for_venue("elsewhere").origin(asset) == {"script": "scripted"}


def test_an_unknown_venue_is_refused_with_the_nearest_name():
    with pytest.raises(ValidationError, match="no venue is called 'bybt'; did you mean 'bybit'"):
        Asset(venue="bybt", symbol="BTCUSDT")
    with pytest.raises(ValidationError, match="no venue is called 'yaho'; did you mean 'yahoo'"):
        FeedSettings(publication_lag_seconds={"yaho": 60})
