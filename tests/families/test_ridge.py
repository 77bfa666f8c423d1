"""Ridge: the closed form, whatever is missing."""

import numpy as np

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
