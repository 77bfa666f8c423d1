"""LASSO and elastic net: conditions of the optimum, another library's path, sparse truth, whatever is missing."""

import numpy as np
import pytest

from benchmarks.planted.markets import PlantedEdge, planted_experiment, planted_market, planted_suite_market
from benchmarks.planted.trial import run_trial
from crossattn_core.families import lasso, working_sets
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.lagged_linear import FittedLinear
from crossattn_core.families.lasso import sparse_weights
from crossattn_core.families.least_angle import lasso_by_criterion, lasso_path
from crossattn_core.families.registry import fit_model
from crossattn_core.walk_forward.health import check_health


def sums_of(rng: np.random.Generator, rows: int = 300, regressors: int = 12) -> tuple[np.ndarray, ...]:
    design_RE = rng.standard_normal((rows, regressors)) + 0.7 * rng.standard_normal((rows, 1))
    target_R = design_RE[:, :4] @ np.array([1.0, -0.8, 0.3, 0.1]) + rng.standard_normal(rows)
    return design_RE, target_R, design_RE.T @ design_RE, design_RE.T @ target_R


@pytest.mark.parametrize("ridge", [0.0, 40.0])
@pytest.mark.parametrize("seed", range(5))
def test_every_breakpoint_of_the_path_meets_the_conditions_of_the_optimum(seed: int, ridge: float) -> None:
    _, _, gram_EE, moment_E = sums_of(np.random.default_rng(seed))
    points = 0
    for active_A, value_A, penalty in lasso_path(lambda j: gram_EE[:, j], moment_E, ridge=ridge):
        coefficient_E = np.zeros(len(moment_E))
        coefficient_E[active_A] = value_A
        left_E = moment_E - gram_EE @ coefficient_E - ridge * coefficient_E
        tolerance = 1e-9 * np.abs(moment_E).max()
        assert np.abs(left_E).max() <= penalty + tolerance
        on_E = np.abs(coefficient_E) > 0
        np.testing.assert_allclose(left_E[on_E], penalty * np.sign(coefficient_E[on_E]), atol=tolerance)
        points += 1
    # The path ends where nothing is penalised.
    assert points > 10
    np.testing.assert_allclose(coefficient_E, np.linalg.solve(gram_EE + ridge * np.eye(12), moment_E), rtol=1e-8)


@pytest.mark.parametrize("seed", [130, 140, 170, 190, 360])
def test_a_regressor_that_left_comes_back_with_the_other_sign_where_the_optimum_asks_for_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design_RE = rng.standard_normal((60, 50))
    target_R = design_RE[:, 0] + rng.standard_normal(60)
    gram_EE, moment_E = design_RE.T @ design_RE, design_RE.T @ target_R
    for active_A, value_A, penalty in lasso_path(lambda j: gram_EE[:, j], moment_E):
        left_E = moment_E - gram_EE[:, active_A] @ value_A
        assert np.abs(left_E).max() <= penalty + 1e-9 * np.abs(moment_E).max()
    coefficient_E = np.zeros(50)
    coefficient_E[active_A] = value_A
    np.testing.assert_allclose(coefficient_E, np.linalg.solve(gram_EE, moment_E), rtol=1e-6)


def test_the_path_is_the_one_of_another_library() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    design_RE, target_R, gram_EE, moment_E = sums_of(np.random.default_rng(7))
    penalties, _, expected = linear_model.lars_path(design_RE, target_R, method="lasso")
    points = list(lasso_path(lambda j: gram_EE[:, j], moment_E))
    np.testing.assert_allclose([penalty / len(target_R) for _, _, penalty in points], penalties, atol=1e-10)
    for (active_A, value_A, _), expected_E in zip(points, expected.T, strict=True):
        found_E = np.zeros(len(moment_E))
        found_E[active_A] = value_A
        np.testing.assert_allclose(found_E, expected_E, atol=1e-8)


def test_the_criterion_chooses_nothing_of_noise_and_the_truth_of_a_sparse_one() -> None:
    rng = np.random.default_rng(3)
    design_RE = rng.standard_normal((4000, 100))
    gram_EE = design_RE.T @ design_RE
    for truth, expected in (({}, set()), ({5: 0.2, 70: -0.1}, {5, 70})):
        target_R = rng.standard_normal(4000) + sum(size * design_RE[:, j] for j, size in truth.items())
        found_E = lasso_by_criterion(lambda j: gram_EE[:, j], design_RE.T @ target_R, float(target_R @ target_R), 4000.0)
        assert set(np.flatnonzero(found_E)) == expected


@pytest.mark.parametrize(("ridge", "power"), [(0.0, 0.0), (0.3, 0.0), (0.0, 1.0)])
def test_each_column_is_an_optimum_on_the_rows_that_it_has(ridge: float, power: float) -> None:
    rng = np.random.default_rng(0)
    design_RE, weight_R = rng.standard_normal((400, 8)), rng.uniform(0.5, 1.5, 400)
    target_RNO = 1.5 * design_RE[:, :3, None] + rng.standard_normal((400, 3, 2))
    target_RNO[:50, 0, 0] = np.nan
    target_RNO[rng.random(400) < 0.8, 1, 1] = np.nan
    target_RNO[:, 2, 1] = np.nan
    size_ENO = rng.uniform(0.2, 1.0, (8, 3, 2))
    solved_ENO = sparse_weights(design_RE, target_RNO, weight_R, size_ENO=size_ENO, power=power, ridge=ridge)
    assert not solved_ENO[:, 2, 1].any()
    weight_R = weight_R * weight_R.sum() / np.square(weight_R).sum()
    deviation_E = np.sqrt(weight_R @ np.square(design_RE) / weight_R.sum())
    for n, o in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)):
        seen_R = np.isfinite(target_RNO[:, n, o])
        unit_E = (size_ENO[:, n, o] * deviation_E) ** power / deviation_E
        x_RE, y_R = (design_RE * unit_E)[seen_R], target_RNO[seen_R, n, o]
        coefficient_E = solved_ENO[:, n, o] / unit_E / (1 + ridge)
        left_E = (weight_R[seen_R] * (y_R - x_RE @ coefficient_E)) @ x_RE - ridge * weight_R[seen_R].sum() * coefficient_E
        on_E = coefficient_E != 0
        assert on_E[n]
        penalty = np.abs(left_E).max()
        np.testing.assert_allclose(left_E[on_E], penalty * np.sign(coefficient_E[on_E]), rtol=1e-8)


def test_a_regressor_that_never_moves_has_no_coefficient() -> None:
    rng = np.random.default_rng(1)
    design_RE = rng.standard_normal((300, 5))
    design_RE[:, 2] = 0.0
    target_RNO = (design_RE[:, 0] + 0.1 * rng.standard_normal(300))[:, None, None]
    solved_E = sparse_weights(design_RE, target_RNO, np.ones(300))[:, 0, 0]
    assert solved_E[2] == 0.0
    assert solved_E[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("family", ["adaptive_lasso", "elastic_net"])
def test_sparse_leads_are_found_better_than_by_ridge_and_none_are_invented(family: str) -> None:
    market = planted_suite_market("linear 1%", 0)
    ours, ridge = (run_trial(name, market, 0) for name in (family, "ridge_var"))
    assert ours.ic > ridge.ic + 0.01
    assert ours.edges_found == ours.edges == 4
    assert ours.named_falsely == 0
    silent = run_trial(family, planted_suite_market("null", 0), 0)
    assert (silent.ic, silent.constant, silent.named) == (0.0, True, 0)


def test_a_horizons_coefficients_are_those_that_the_next_bars_imply() -> None:
    panel = planted_market(4000, edges=(PlantedEdge(0, 1, 9), PlantedEdge(2, 3, 12)), seed=4)
    experiment = planted_experiment(panel, {"labels": {"horizons": [1, 6], "trade_horizon": 6}})
    model = fit_model("adaptive_lasso", FitRequest(panel, 3900, np.ones(4000, np.float32), 0), experiment)
    assert isinstance(model, FittedLinear)
    by_lag_LMNO = model.weight_ENO.reshape(24, 6, 6, 3)
    for leader, follower, lag in ((0, 1, 9), (2, 3, 12)):
        assert np.flatnonzero(by_lag_LMNO[:, leader, follower, 0]).tolist() == [lag - 1]
        # Filled a bar later, six bars are bars 2 .. 7 ahead: what the leader did lag - 7 .. lag - 2 bars ago.
        found_L = by_lag_LMNO[:, leader, follower, 2]
        assert set(range(lag - 7, lag - 1)) <= set(np.flatnonzero(found_L))
        unit = model.target_scaler.deviation_NO[follower]
        np.testing.assert_allclose(found_L[lag - 2], by_lag_LMNO[lag - 1, leader, follower, 0] * unit[0] / unit[2], rtol=1e-5)


def test_a_model_that_chose_no_lead_forecasts_0_and_may_serve() -> None:
    panel = planted_market(900, edges=(), seed=2)
    experiment = planted_experiment(panel)
    model = fit_model("adaptive_lasso", FitRequest(panel, 800, np.ones(900, np.float32), 0), experiment)
    assert model.found_nothing
    assert not model.forecast(panel, np.arange(790, 820)).any()
    assert check_health(model, panel, 800).healthy


@pytest.mark.parametrize(("at_first", "more"), [(2, 1), (2, 16), (64, 16)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_working_sets_find_the_coefficients_that_all_products_give(
    adaptive: bool, at_first: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    # Regressors that move together: what the moments name first is not what the path takes.
    design_RE = rng.standard_normal((500, 120)) + 0.8 * rng.standard_normal((500, 3))[:, np.arange(120) % 3]
    target_RNO = rng.standard_normal((500, 6, 2))
    for n in range(5):
        target_RNO[:, n] += (design_RE[:, 7 * n : 7 * n + 5] @ rng.uniform(-0.6, 0.6, 5))[:, None]
    target_RNO[rng.random(500) < 0.3, 1, 0] = np.nan
    target_RNO[:, 2, 1] = np.nan
    weight_R = rng.uniform(0.3, 1.0, 500)
    knobs = {"size_ENO": rng.uniform(0.1, 1.0, (120, 6, 2)), "power": 1.0} if adaptive else {"ridge": 0.1}
    expected_ENO = sparse_weights(design_RE, target_RNO, weight_R, **knobs)
    monkeypatch.setattr(lasso, "_EVERY_PRODUCT", 100)
    monkeypatch.setattr(working_sets, "_AT_FIRST", at_first)
    monkeypatch.setattr(working_sets, "_MORE", more)  # with one at a time, many rounds until none is left out
    found_ENO = sparse_weights(design_RE, target_RNO, weight_R, **knobs)
    assert (expected_ENO != 0).sum() > 20
    np.testing.assert_allclose(found_ENO, expected_ENO, atol=1e-9)
