"""The proofs are silent on an honest walk, and find a model that saw too much, whatever the plan says."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home, open_home
from crossattn_core.line import Line
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.lookahead_checks import check_no_forecast_saw_its_label, check_replay, sampled_days
from crossattn_core.walk_forward.store import read_plan
from crossattn_core.walk_forward.walk import walk
from tests.small import past, small_experiment
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel


@pytest.fixture
def walked(tmp_path: Path):
    home, panel = Home(tmp_path), synthetic_panel(40)
    list(walk(home, rolling_experiment(), panel, FIRST_DAY, FIRST_DAY + timedelta(days=39), fit=FakeFit(), load=fake_load))
    return home, panel


def _change_cut_off(home: Home, model_id: str, cut_off: str | None) -> None:
    path = home.models / model_id / "manifest.json"
    stored = json.loads(path.read_text())
    stored["manifest"]["cut_off"] = cut_off
    path.write_text(json.dumps(stored))


def test_an_honest_walk_has_no_failure(walked) -> None:
    home, panel = walked
    assert check_no_forecast_saw_its_label(home, rolling_experiment(), panel, load=fake_load).empty


def test_a_model_fitted_an_hour_into_its_first_day_is_found(walked) -> None:
    home, panel = walked
    first = read_plan(home).query("model_id != ''").iloc[0]
    _change_cut_off(home, first["model_id"], str(first["day"] + timedelta(hours=1)))
    failures = check_no_forecast_saw_its_label(home, rolling_experiment(), panel, load=fake_load)
    assert set(failures["fault"]) == {"the model knows rows of the day that it serves"}
    assert set(failures["as_of"].dt.date) <= {first["day"].date(), first["day"].date() + timedelta(days=1)}
    assert set(failures["model_id"]) == {first["model_id"]}


def test_a_model_from_the_future_is_found_with_its_labels(walked) -> None:
    home, panel = walked
    model_id = read_plan(home)["model_id"].iloc[-1]
    _change_cut_off(home, model_id, "2026-01-01T00:00:00")
    failures = check_no_forecast_saw_its_label(home, rolling_experiment(), panel, load=fake_load)
    assert set(failures["fault"]) == {"the model knows rows of the day that it serves"}
    assert set(failures["model_id"]) == {model_id}
    assert (failures["label_end"].dropna() <= failures["cut_off"].iloc[0]).all()


def test_a_model_without_a_cut_off_is_a_failure(walked) -> None:
    home, panel = walked
    _change_cut_off(home, read_plan(home)["model_id"].iloc[-1], None)
    failures = check_no_forecast_saw_its_label(home, rolling_experiment(), panel, load=fake_load)
    assert set(failures["fault"]) == {"the model's checkpoint holds no cut-off"}


class Peeking:
    """A model that adds to each forecast what the next row holds."""

    def __init__(self, honest: FittedModel) -> None:
        self._honest = honest

    def forecast(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        later = np.minimum(rows + 1, len(panel.as_of_T) - 1)
        return self._honest.forecast(panel, rows) + panel.mark_price_TN[later].astype(np.float32)[:, :, None]

    def weights(self, panel: Panel, rows: np.ndarray) -> None:
        return None


@pytest.fixture
def ran(ready_folder: Path) -> Line:
    experiment = small_experiment(ready_folder / "market")
    return Line(experiment, open_home(ready_folder / "home", experiment), clock=past)


def test_forecasts_of_an_honest_walk_come_out_again(ran: Line) -> None:
    days = sampled_days([day for day in ran.staleness.days if day.day > 16])
    assert check_replay(ran.home, ran.experiment, ran.panel(), days).empty


def test_a_model_that_reads_the_next_row_is_caught(ran: Line) -> None:
    def load(folder: Path, experiment):
        return Peeking(load_model(folder, experiment))

    faults = check_replay(ran.home, ran.experiment, ran.panel(), [ran.staleness.days[-1]], load=load)
    assert len(faults) > 0
