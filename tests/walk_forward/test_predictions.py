"""A family that gives weights goes through the walk, the proofs and the portfolio like one that forecasts."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.home import Home
from crossattn_core.panel.align import weight_array
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.walk_forward.lookahead_checks import check_no_forecast_saw_its_label, check_replay
from crossattn_core.walk_forward.predictions import FORECAST_COLUMNS, PREDICTION_COLUMNS
from crossattn_core.walk_forward.store import predictions_path, read_forecasts, read_plan, read_predictions
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, FakeModel, fake_load, rolling_experiment, synthetic_panel

DAYS = 26
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
EXPERIMENT = rolling_experiment(families=("attention", "portfolio_transformer"))
PANEL = synthetic_panel(DAYS)


class Weigher(FakeModel):
    """Gives a share in proportion to the last return, and forecasts nothing."""

    def forecast(self, panel, rows):
        return np.full((len(rows), len(panel.asset_ids), 2), np.nan, dtype=np.float32)

    def weights(self, panel, rows):
        past_RN = np.nan_to_num(np.asarray(panel.feature_TNF)[rows, :, 0])
        return (past_RN / np.maximum(np.abs(past_RN).sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)


def load(folder: Path, experiment):
    model = fake_load(folder, experiment)
    return Weigher(model.family, model.manifest) if model.family == "portfolio_transformer" else model


class Fit(FakeFit):
    def __call__(self, family, request, experiment, *, report):
        model = super().__call__(family, request, experiment, report=report)
        return Weigher(family, model.manifest) if family == "portfolio_transformer" else model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("weights"))
    list(walk(home, EXPERIMENT, PANEL, FIRST_DAY, LAST, fit=Fit(), load=load))
    return home


def test_one_table_a_day_says_of_each_row_whether_it_is_a_return_or_a_weight(home: Home) -> None:
    predictions = read_predictions(home, FIRST_DAY, LAST)
    assert tuple(predictions.columns) == PREDICTION_COLUMNS
    assert dict(predictions.groupby("family")["kind"].unique().map(list)) == {
        "attention": ["return"],
        "portfolio_transformer": ["weight"],
    }
    weights = predictions[predictions["kind"] == "weight"]
    assert set(weights["horizon"]) == {EXPERIMENT.labels.trade_horizon}
    assert not predictions.duplicated(["as_of", "asset_id", "family", "kind", "horizon"]).any()


def test_weights_are_never_among_the_forecasts(home: Home) -> None:
    forecasts, weights = read_forecasts(home, FIRST_DAY, LAST), read_predictions(home, FIRST_DAY, LAST, "weight")
    assert tuple(forecasts.columns) == FORECAST_COLUMNS
    assert set(forecasts["family"]) == {"attention"}
    assert set(weights["family"]) == {"portfolio_transformer"}
    plan = read_plan(home).query("family == 'portfolio_transformer' and model_id != ''")
    assert set(weights["model_id"]) == set(plan["model_id"])
    weight_TN = weight_array(weights, PANEL, "portfolio_transformer")
    assert weight_TN is not None
    first = int(np.flatnonzero(np.isfinite(weight_TN).any(axis=1))[0])
    rows = np.arange(first, len(PANEL.as_of_T))
    np.testing.assert_array_equal(weight_TN[rows], Weigher("portfolio_transformer", {"slope_H": [0.0, 0.0]}).weights(PANEL, rows))


def test_a_day_is_reused_only_while_its_predictions_are_stored(home: Home) -> None:
    again = list(walk(home, EXPERIMENT, PANEL, FIRST_DAY, LAST, fit=Fit(), load=load))
    assert all(result.reused for result in again)
    path = predictions_path(home, LAST)
    stored = path.read_bytes()
    path.unlink()
    again = list(walk(home, EXPERIMENT, PANEL, FIRST_DAY, LAST, fit=Fit(), load=load))
    assert [result.reused for result in again[-2:]] == [True, False]
    assert path.read_bytes() == stored


def test_the_proofs_cover_weights(home: Home) -> None:
    assert check_no_forecast_saw_its_label(home, EXPERIMENT, PANEL, load=load).empty
    assert check_replay(home, EXPERIMENT, PANEL, [LAST], load=load).empty

    def peek(folder: Path, experiment):
        model = load(folder, experiment)
        honest = model.weights
        model.weights = lambda panel, rows: (
            None if honest(panel, rows) is None else honest(panel, np.minimum(rows + 1, len(panel.as_of_T) - 1))
        )
        return model

    assert set(check_replay(home, EXPERIMENT, PANEL, [LAST], load=peek)["family"]) == {"portfolio_transformer"}


def test_a_models_weights_meet_the_limits_of_every_strategy(home: Home) -> None:
    weight_TN = weight_array(read_predictions(home, FIRST_DAY, LAST, "weight"), PANEL, "portfolio_transformer")
    assert weight_TN is not None
    rows_D = decision_rows(PANEL.as_of_T, EXPERIMENT.portfolio)[-4:]
    targets = target_weights("portfolio_transformer", PANEL, None, rows_D, EXPERIMENT, past_weight_TN=weight_TN)
    settings = EXPERIMENT.portfolio
    ordered_DN = np.isfinite(targets.target_DN)
    assert ordered_DN.any()
    assert np.abs(np.nan_to_num(targets.target_DN)).max() <= settings.max_weight + 1e-9
    free_DN = ordered_DN & (np.abs(weight_TN[rows_D]) < settings.max_weight)
    # From a flat portfolio an asset under every limit is given exactly the weight of the model.
    np.testing.assert_allclose(targets.target_DN[0][free_DN[0]], weight_TN[rows_D[0]][free_DN[0]], rtol=1e-6)


def test_what_comes_after_a_decision_moves_no_target(home: Home) -> None:
    weight_TN = weight_array(read_predictions(home, FIRST_DAY, LAST, "weight"), PANEL, "portfolio_transformer")
    assert weight_TN is not None
    rows_D = decision_rows(PANEL.as_of_T, EXPERIMENT.portfolio)[-4:]
    later = weight_TN.copy()
    later[rows_D[1] + 1 :] = 0.0
    first, second = (
        target_weights("portfolio_transformer", PANEL, None, rows_D, EXPERIMENT, past_weight_TN=each)
        for each in (weight_TN, later)
    )
    np.testing.assert_array_equal(first.target_DN[:2], second.target_DN[:2])
