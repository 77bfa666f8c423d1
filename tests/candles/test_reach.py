"""Days that Yahoo no longer has: an old lake keeps them, a new one starts where the source does and says so."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from crossattn_core import data_stages
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.coverage import coverage_of
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import PermanentFeedError
from crossattn_core.experiment import FeedSettings, load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.progress import Progress
from tests.candles.scripted import plain_candles
from tests.candles.test_yahoo import AAPL, feed_of
from tests.servers.yahoo import YahooServer

LIVE = Path(__file__).parents[2] / "experiments" / "live.yaml"


class Moving:
    """A clock that is moved by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def served(clock: Moving, *assets) -> YahooServer:
    start = datetime(2025, 1, 1)
    return YahooServer({asset.symbol: plain_candles(asset, start, datetime(2027, 6, 1)) for asset in assets}, clock)


def fetched(server: YahooServer, lake: Lake, first: date, last: date, **settings):
    return ingest("candles", feed_of(server), lake, (AAPL,), first, last, settings=FeedSettings(**settings))


def test_a_lake_older_than_the_source_is_kept_and_only_what_can_be_had_is_asked_for(tmp_path):
    clock, lake = Moving(datetime(2025, 4, 2)), Lake(tmp_path, "api")
    with served(clock, AAPL) as server:
        # A hole that the source would be asked for once more.
        table = server.tables["AAPL"]
        server.tables["AAPL"] = table[table["closed_at"] != table["closed_at"].iloc[40]]
        fetched(server, lake, date(2025, 1, 1), date(2025, 3, 31))
        before = lake.read_candles("yahoo", date(2025, 1, 1), date(2025, 3, 31))
        clock.now = datetime(2027, 3, 1)  # it reaches back to 2025-03-03
        asked = len(server.charts_asked())
        days = fetched(server, lake, date(2025, 1, 1), date(2025, 4, 30))
        assert len(server.charts_asked()) == asked + 1
        assert sum(day.gaps for day in days) == 1
        after = lake.read_candles("yahoo", date(2025, 1, 1), date(2025, 3, 31))
        pd.testing.assert_frame_equal(after.to_pandas(), before.to_pandas(), check_exact=True)
        assert lake.read_candles("yahoo", date(2025, 4, 1), date(2025, 4, 30)).num_rows == 21 * 7


def test_days_that_are_gone_are_refused_unless_the_experiment_leaves_them_out(tmp_path):
    with served(Moving(datetime(2027, 3, 1)), AAPL) as server:
        lake = Lake(tmp_path, "api")
        with pytest.raises(PermanentFeedError, match=r"set feed\.skip_beyond_reach to leave older days out"):
            fetched(server, lake, date(2025, 1, 1), date(2025, 4, 30))
        days = fetched(server, lake, date(2025, 1, 1), date(2025, 4, 30), skip_beyond_reach=True)
    assert all(day.complete for day in days)
    assert sum(day.gaps for day in days) == 0
    (row,) = [row for row in coverage_of(lake, (AAPL,), date(2025, 1, 1), date(2025, 4, 30), 0.0) if row.kind == "candles"]
    (hole,) = row.holes
    assert (hole.first, hole.last, hole.why) == (date(2025, 1, 1), date(2025, 3, 2), "left out: older than the source keeps")
    assert row.is_complete
    noted = [request for (request,) in lake.ledger.rows("windows", ("request",), "kind = 'candles'", ())]
    assert any("left out 2025-01-01 .. 2025-03-02: older than the source keeps" in request for request in noted)


def test_live_starts_from_scratch_where_yahoo_does_on_any_day(tmp_path, monkeypatch):
    live = load_experiment(LIVE)
    stocks = live.assets_on("yahoo")
    clock = Moving(datetime(2027, 5, 3, 0, 10))
    with served(clock, *stocks) as server:
        monkeypatch.setitem(FEEDS._items, "api", lambda experiment, now: feed_of(server))
        said: list[Progress] = []
        line = Line(live, open_home(tmp_path, live), said.append, lambda: clock().replace(tzinfo=UTC))
        assert line.last_day == date(2027, 5, 2)
        first_kept = date(2025, 5, 5)  # 729 days before, rounded up to a midnight
        days = data_stages.ingest_candles(line, "yahoo", live.period.start, line.last_day)
        assert next(day.day for day in days if day.rows) == first_kept
        assert all(day.complete and not day.gaps for day in days)
        assert f"left out 2025-01-01 .. {first_kept - timedelta(days=1)}" in next(
            step.note for step in said if "left out" in step.note
        )
        assert not line.staleness.stale_days("candles/yahoo")
        # A day later the same home goes on: one more day, and nothing that it has is lost.
        clock.now += timedelta(days=2)
        asked = len(server.charts_asked())
        days = data_stages.ingest_candles(line, "yahoo", live.period.start, line.last_day)
        assert next(day.day for day in days if day.rows) == first_kept
        assert len(server.charts_asked()) == asked + len(stocks)
