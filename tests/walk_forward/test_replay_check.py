"""The look-ahead check of real runs: silent on an honest walk, loud on forecasts that knew more."""

from pathlib import Path

import numpy as np
import pytest

from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.registry import load_model
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.replay_check import check_replay, sampled_days
from tests.small import past, small_experiment


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
