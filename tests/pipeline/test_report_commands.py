"""``report``, ``backtest`` and ``explain`` as a user runs them, over a home in which the whole line ran."""

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crossattn_pipeline.cli import app
from tests.small import LAST

AS_OF = "2025-03-24"


@pytest.fixture(scope="module")
def options(ready_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    home = tmp_path_factory.mktemp("reported") / "home"
    shutil.copytree(ready_folder / "home", home)
    return home, ["--experiment", str(ready_folder / "small.yaml"), "--home", str(home)]


def events_of(*words: str) -> list[dict]:
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def returns_of(home: Path, day: str):
    return pq.read_table(home / "reports" / day / "returns.parquet").to_pandas().set_index(["strategy", "as_of"])


def test_explain_walks_from_the_champions_position_down_to_the_candle(options: tuple[Path, list[str]]) -> None:
    _, chosen = options
    (event,) = events_of("explain", "--day", AS_OF, "--symbol", "ETHUSDT", "--json", *chosen)
    titles = [step["step"].split()[0] for step in event["steps"]]
    assert titles[:3] == ["position", "target", "followed"]
    assert titles[-2:] == ["features", "candle"]


def test_explain_shows_forecast_model_and_training_range_of_a_family(options: tuple[Path, list[str]]) -> None:
    _, chosen = options
    (event,) = events_of("explain", "--day", AS_OF, "--symbol", "BTCUSDT", "--strategy", "attention", "--json", *chosen)
    steps = {step["step"].split()[0]: step["facts"] for step in event["steps"]}
    assert "24 h ahead" in steps["forecast"]
    assert ".." in steps["model"]["trained on"]
    assert "close" in steps["candle"]


def test_a_report_as_of_a_day_is_the_beginning_of_the_newest_one(options: tuple[Path, list[str]]) -> None:
    home, chosen = options
    event = events_of("report", "--day", AS_OF, "--json", *chosen)[-1]
    assert Path(event["page"]) == home / "reports" / AS_OF / "report.html"
    early, whole = returns_of(home, AS_OF), returns_of(home, LAST)
    assert early.index.get_level_values("as_of").max().date() == date(2025, 3, 25)
    np.testing.assert_array_equal(early["equity"], whole.loc[early.index, "equity"])


def test_a_report_as_of_a_day_outside_the_period_is_refused(options: tuple[Path, list[str]]) -> None:
    _, chosen = options
    done = CliRunner().invoke(app, ["report", "--day", "2024-01-01", *chosen])
    assert done.exit_code != 0
    assert "does not lie within" in str(done.exception)


def test_report_says_the_verdict_and_where_the_page_is(options: tuple[Path, list[str]]) -> None:
    home, chosen = options
    event = events_of("report", "--json", *chosen)[-1]
    assert Path(event["page"]) == home / "reports" / LAST / "report.html"
    assert event["verdict"]
    assert {"champion", "equal_weight"} <= set(event["strategies"])


def test_backtest_decides_and_trades_anew_from_stored_forecasts(options: tuple[Path, list[str]]) -> None:
    home, chosen = options
    weights, page = home / "weights" / "attention.parquet", home / "reports" / LAST / "report.html"
    decided, shown = weights.read_bytes(), page.read_bytes()
    weights.unlink()
    page.unlink()
    events_of("backtest", "--json", *chosen)
    assert weights.read_bytes() == decided
    assert page.read_bytes() == shown
