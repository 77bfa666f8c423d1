"""Candle assets under Dagster: what a retry is for, and what the checks show."""

from pathlib import Path

import pandas as pd
import pytest

from crossattn_core import data_stages
from crossattn_core.errors import CrossattnError, FeedError, PermanentFeedError, TransientFeedError
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.launch import materialize, materialize_stale
from tests.small import past, small_experiment, write_market


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write_market(tmp_path / "market")
    experiment = small_experiment(tmp_path / "market")
    return Line(experiment, open_home(tmp_path / "home", experiment), clock=past)


@pytest.mark.parametrize(
    ("error", "attempts_made"), [(PermanentFeedError("no such symbol"), 1), (TransientFeedError("time-out"), 3)]
)
def test_what_is_permanent_is_requested_once_and_what_is_transient_again(
    line: Line, monkeypatch: pytest.MonkeyPatch, error: FeedError, attempts_made: int
) -> None:
    attempts = []

    def fails(*given: object, **options: object) -> None:
        attempts.append(given)
        raise error

    monkeypatch.setattr("crossattn_core.data_stages.ingest_candles", fails)
    monkeypatch.setattr("crossattn_pipeline.assets.candles._RETRY_SECONDS", 0.0)
    with pytest.raises(CrossattnError, match=str(error)):
        materialize(line, "data", ["candles/bybit"], [line.experiment.period.start])
    assert len(attempts) == attempts_made


def test_the_check_shows_what_was_refused_with_its_reason(line: Line) -> None:
    path = Path(line.experiment.feed.folder) / "yahoo_1h" / "NVDA.parquet"
    rows = pd.read_parquet(path)
    rows.loc[3, "high"] = rows.loc[3, "low"] * 0.99
    rows.to_parquet(path, index=False)
    first = line.experiment.period.start
    result = materialize(line, "data", ["candles/yahoo"], [first, line.last_day], must_pass=False)
    (check,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "none_refused"]
    assert not check.passed
    assert check.metadata["rows"].value == 1
    assert "high is not the highest" in str(check.metadata["failing_rows"].value)


def test_days_that_lack_too_much_block_every_run_until_the_source_has_them(line: Line) -> None:
    path = Path(line.experiment.feed.folder) / "bybit_1h" / "ETHUSDT.parquet"
    whole = pd.read_parquet(path)
    whole[~whole["timestamp"].between("2025-03-10", "2025-03-12")].to_parquet(path, index=False)
    span = line.experiment.period.start, line.last_day
    for _ in range(3):
        with pytest.raises(CrossattnError, match="candles/bybit: complete"):
            materialize_stale(line, *span, lambda text: None)
        assert {str(day) for day in line.staleness.stale_days("candles/bybit")} == {"2025-03-10", "2025-03-11"}
        assert line.staleness.stale_days("feature_windows")
    whole.to_parquet(path, index=False)
    result = materialize(line, "data", ["candles/bybit"], list(span), must_pass=False)
    (check,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "complete"]
    assert check.passed
    assert not line.staleness.stale_days("candles/bybit")


def test_a_day_that_came_short_later_is_stale_again(line: Line) -> None:
    """The receipt of an earlier, looser judgement does not let it pass."""
    path = Path(line.experiment.feed.folder) / "bybit_1h" / "ETHUSDT.parquet"
    whole = pd.read_parquet(path)
    whole[~whole["timestamp"].between("2025-03-10 01:00", "2025-03-10 03:00")].to_parquet(path, index=False)
    first, last = line.experiment.period.start, line.last_day
    loose = Line(
        line.experiment.model_copy(update={"feed": line.experiment.feed.model_copy(update={"gap_tolerance": 0.1})}), line.home
    )
    data_stages.ingest_candles(loose, "bybit", first, last)
    assert not loose.staleness.stale_days("candles/bybit")
    data_stages.ingest_candles(line, "bybit", first, last)
    assert [str(day) for day in line.staleness.stale_days("candles/bybit")] == ["2025-03-10"]
