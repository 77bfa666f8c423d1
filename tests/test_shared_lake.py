"""One lake of minutes serves experiments of several grids: the second home fetches nothing."""

from pathlib import Path

import numpy as np
import pytest

from crossattn_core import data_stages
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from tests.small import export_line, past, small_experiment, write_market_of

DAYS = {"start": "2025-03-05", "end": "2025-03-07"}


def experiment_of(folder: Path, bar: str) -> Experiment:
    feed = {"kind": "files", "folder": str(folder / "market"), "lake": str(folder / "lake"), "interval": "5m"}
    return small_experiment(folder / "market", grid={"bar": bar}, period=DAYS, feed=feed)


def test_a_second_home_of_another_grid_reads_the_candles_of_the_first(tmp_path: Path) -> None:
    fine, coarse = experiment_of(tmp_path, "5m"), experiment_of(tmp_path, "1h")
    write_market_of(fine, tmp_path / "market")
    first = export_line(fine, tmp_path / "fine")
    line = Line(coarse, open_home(tmp_path / "coarse", coarse), clock=past)
    days = data_stages.ingest_candles(line, "bybit", coarse.period.start, line.last_day)
    assert sum(day.requests for day in days) == 0
    assert not (tmp_path / "coarse" / "lake").exists()
    hours, fives = export_line(coarse, tmp_path / "coarse").panel(), first.panel()
    # An hour's close is that of its last five minutes.
    np.testing.assert_array_equal(hours.trade_price_TN[:, :3], fives.trade_price_TN[11::12, :3])
    assert np.array_equal(hours.as_of_T, fives.as_of_T[11::12])


def test_a_lake_is_named_from_where_the_file_lies_and_no_market_is_mixed(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("feed: {kind: api, lake: candles}\n")
    experiment = load_experiment(file)
    assert experiment.feed.lake == str(tmp_path / "candles")
    elsewhere = replace_lake(experiment, "/elsewhere")
    assert elsewhere.content_hash() == experiment.content_hash()
    file.write_text("feed: {kind: simulated, lake: candles}\n")
    with pytest.raises(ExperimentError, match=r"feed.lake: a simulated market"):
        load_experiment(file)


def replace_lake(experiment: Experiment, lake: str) -> Experiment:
    return experiment.model_copy(update={"feed": experiment.feed.model_copy(update={"lake": lake})})
