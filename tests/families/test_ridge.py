"""Ridge: the closed form, whatever is missing."""

import numpy as np
import pytest

from crossattn_core.families import lagged_linear, ridge
from crossattn_core.families.lagged_returns import lagged_design
from crossattn_core.families.ridge import ridge_weights


def test_weights_solve_the_weighted_normal_equations_of_each_column() -> None:
    rng = np.random.default_rng(0)
    design_RE, target_RNO = rng.standard_normal((200, 6)), rng.standard_normal((200, 3, 2))
    target_RNO[:20, 0, 0] = np.nan
    target_RNO[rng.random(200) < 0.8, 1, 1] = np.nan
    weight_R = rng.random(200)
    solved_ENO = ridge_weights(design_RE, target_RNO, weight_R, penalty=3.0)
    for n in range(3):
        for o in range(2):
            seen_R = np.isfinite(target_RNO[:, n, o])
            scaled_RE = design_RE[seen_R] * weight_R[seen_R, None]
            gram_EE = scaled_RE.T @ design_RE[seen_R] + 3.0 * np.eye(6)
            expected_E = np.linalg.solve(gram_EE, scaled_RE.T @ target_RNO[seen_R, n, o])
            np.testing.assert_allclose(solved_ENO[:, n, o], expected_E, rtol=1e-8)


def test_the_design_holds_the_newest_return_first_and_nothing_before_the_first_bar() -> None:
    return_TN = np.arange(10.0)[:, None] * np.array([1.0, 10.0])
    design_RE = lagged_design(return_TN, np.array([1, 5]), lags=3)
    np.testing.assert_array_equal(design_RE, [[1, 10, 0, 0, 0, 0], [5, 50, 4, 40, 3, 30]])


def sparse_gaps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 regressors, 8 assets x 2 outputs: candles missing here and there, one asset listed late, one that mostly sleeps."""
    rng = np.random.default_rng(1)
    design_RE = rng.standard_normal((400, 60)) * np.exp(rng.standard_normal(60))
    target_RNO, weight_R = rng.standard_normal((400, 8, 2)), rng.random(400)
    target_RNO[rng.random(target_RNO.shape) < 0.01] = np.nan
    target_RNO[:200, 3] = np.nan
    target_RNO[rng.random(400) < 0.8, 5] = np.nan
    target_RNO[:, 6] = np.nan
    weight_R[::9] = 0.0
    return design_RE, target_RNO, weight_R


def test_columns_that_miss_a_few_rows_are_solved_as_if_each_had_a_decomposition_of_its_own() -> None:
    design_RE, target_RNO, weight_R = sparse_gaps()
    for penalty in (0.1, 100.0):
        solved_ENO = ridge_weights(design_RE, target_RNO, weight_R, penalty)
        for n, o in np.ndindex(8, 2):
            seen_R = np.isfinite(target_RNO[:, n, o])
            scaled_RE = design_RE[seen_R] * weight_R[seen_R, None]
            expected_E = np.linalg.solve(
                scaled_RE.T @ design_RE[seen_R] + penalty * np.eye(60), scaled_RE.T @ target_RNO[seen_R, n, o]
            )
            np.testing.assert_allclose(solved_ENO[:, n, o], expected_E, rtol=0, atol=1e-10)


def test_decompositions_grow_with_kinds_of_gaps_and_not_with_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    design_RE, target_RNO, weight_R = sparse_gaps()
    decompose, calls = ridge.linalg.cholesky, []
    monkeypatch.setattr(ridge.linalg, "cholesky", lambda *given, **how: calls.append(1) or decompose(*given, **how))
    ridge_weights(design_RE, target_RNO, weight_R, 1.0)
    # All rows; the late asset; the sleeping one. The one without a label has nothing to solve.
    assert len(calls) == 3


def test_a_column_without_a_row_has_no_coefficient_and_asks_nothing_of_the_solver(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(6)
    target_RNO = rng.standard_normal((50, 3, 2))
    target_RNO[:, 1], target_RNO[:, 2, 1] = np.nan, np.nan
    solved_ENO = ridge_weights(rng.standard_normal((50, 4)), target_RNO, np.ones(50), penalty=1.0)
    assert solved_ENO.any(axis=0).tolist() == [[True, True], [False, False], [True, False]]
    # A solver that is given nothing complains past Python, and some of them end the process.
    assert "".join(capfd.readouterr()) == ""


def test_with_more_regressors_than_rows_the_solution_is_the_same() -> None:
    rng = np.random.default_rng(4)
    design_RE, target_RNO = rng.standard_normal((60, 90)), rng.standard_normal((60, 4, 2))
    weight_R = rng.uniform(0.2, 1.0, 60)
    target_RNO[:5, 1] = np.nan
    target_RNO[10:50, 2, 1] = np.nan
    target_RNO[:, 3, 0] = np.nan
    for penalty in (0.5, 50.0):
        solved_ENO = ridge_weights(design_RE, target_RNO, weight_R, penalty)
        for n, o in np.ndindex(4, 2):
            seen_R = np.isfinite(target_RNO[:, n, o])
            scaled_RE = design_RE[seen_R] * weight_R[seen_R, None]
            expected_E = np.linalg.solve(
                scaled_RE.T @ design_RE[seen_R] + penalty * np.eye(90), scaled_RE.T @ target_RNO[seen_R, n, o].astype(float)
            )
            np.testing.assert_allclose(solved_ENO[:, n, o], expected_E, rtol=0, atol=1e-10)


@pytest.mark.parametrize("summed", [10, 10_000])
def test_a_rows_forecast_has_the_same_bits_whatever_is_asked_beside_it(summed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    design_RE, weight_ENO = rng.standard_normal((150, 40)), rng.standard_normal((40, 3, 2))
    monkeypatch.setattr(lagged_linear, "_SUMMED", summed)
    fitted = object.__new__(lagged_linear.FittedLinear)
    fitted.weight_ENO = weight_ENO
    whole_RNO = fitted.scaled_outputs(design_RE)
    np.testing.assert_allclose(whole_RNO, np.tensordot(design_RE, weight_ENO, axes=1), rtol=1e-12, atol=1e-12)
    for rows in (slice(0, 1), slice(70, 71), slice(3, 99)):
        np.testing.assert_array_equal(fitted.scaled_outputs(design_RE[rows]), whole_RNO[rows])
