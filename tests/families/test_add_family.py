"""A family from outside: registered, it is named in an experiment, walked, stored and read back like ours."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crossattn_core.errors import CheckpointError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import Family, FitRequest, FittedModel
from crossattn_core.families.registry import FAMILIES, fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.training.epochs import EpochReport
from crossattn_core.walk_forward.store import read_forecasts
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, rolling_experiment, synthetic_panel

DAYS = 22
PANEL = synthetic_panel(DAYS)
REQUEST = FitRequest(PANEL, 20 * 24 - 1, np.ones(20 * 24, np.float32), seed=5)


class ConstantModel(FittedModel):
    """Forecasts each asset's mean label."""

    def __init__(self, mean_NH: NDArray[np.float32], manifest: dict[str, Any]) -> None:
        self.mean_NH = mean_NH
        self.identify(manifest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"mean_NH": self.mean_NH}

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.repeat(self.mean_NH[None], len(rows), axis=0)

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self.forecast(panel, rows)[:, :, 0]


def fit_constant(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> ConstantModel:
    known_TNH = compute_labels(request.known_panel, experiment.labels).known_at(request.cut_off)
    manifest = {**stamp(family, experiment, ()), **request.record(np.arange(request.cut_off + 1))}
    return ConstantModel(np.nanmean(known_TNH, axis=0).astype(np.float32), manifest)


def load_constant(arrays: Mapping[str, NDArray[Any]], manifest: dict[str, Any], experiment: Experiment) -> ConstantModel:
    return ConstantModel(arrays["mean_NH"], manifest)


CONSTANT = Family(fit_constant, load_constant)


def test_a_family_from_outside_is_walked_and_its_forecasts_are_stored(tmp_path: Path) -> None:
    home, day = Home(tmp_path), FIRST_DAY + timedelta(days=DAYS - 1)
    with FAMILIES.temporarily("constant", CONSTANT):
        experiment = rolling_experiment(families=("constant",))
        [result] = walk(home, experiment, PANEL, day, day)
        model = fit_model("constant", REQUEST, experiment)
    assert result.day == day
    forecasts = read_forecasts(home, day, day)
    assert set(forecasts["family"]) == {"constant"}
    np.testing.assert_array_equal(
        np.unique(forecasts["forecast"].astype(np.float32)), np.unique(model.forecast(PANEL, np.arange(1)))
    )


def test_a_family_from_outside_comes_back_from_the_store(tmp_path: Path) -> None:
    with FAMILIES.temporarily("constant", CONSTANT):
        experiment = rolling_experiment(families=("constant",))
        model = fit_model("constant", REQUEST, experiment)
        folder = model.save(tmp_path / model.model_id)
        again = load_model(folder, experiment)
    assert again.model_id == model.model_id
    np.testing.assert_array_equal(again.forecast(PANEL, np.arange(3)), model.forecast(PANEL, np.arange(3)))
    known = r"no model family is called 'constant'; did you mean .* Known: adaptive_lasso, attention, "
    with pytest.raises(CheckpointError, match=known):
        load_model(folder, rolling_experiment())
