import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.sandwich_covariance import S_hac_simple

from crossattn_core.stats.newey_west import least_squares, newey_west_variance

DRAW = np.random.default_rng(5)
X = np.column_stack([np.ones(400), DRAW.standard_normal((400, 3))])
Y = X @ np.array([0.1, 0.7, 0.0, -0.3]) + np.abs(X[:, 1]) * DRAW.standard_normal(400)


@pytest.mark.parametrize("lags", [0, 1, 24])
def test_coefficients_and_errors_equal_statsmodels(lags: int):
    robust = {"cov_type": "HAC", "cov_kwds": {"maxlags": lags, "use_correction": False}} if lags else {"cov_type": "HC0"}
    fit = sm.OLS(Y, X).fit(**robust)
    coefficient, error = least_squares(X, Y, lags=lags)
    np.testing.assert_allclose(coefficient, fit.params, rtol=1e-10)
    np.testing.assert_allclose(error, fit.bse, rtol=1e-10)


def test_collinear_regressors_share_what_they_explain():
    alone, _ = least_squares(X[:, :2], Y)
    twice, _ = least_squares(X[:, [0, 1, 1]], Y)
    np.testing.assert_allclose(twice, [alone[0], alone[1] / 2, alone[1] / 2], atol=1e-9)


@pytest.mark.parametrize("lags", [0, 1, 10])
def test_the_long_run_variance_equals_statsmodels(lags: int):
    series = np.convolve(DRAW.standard_normal(500), [1, 0.5, 0.2])
    expected = S_hac_simple((series - series.mean())[:, None], nlags=lags)[0, 0] / len(series)
    assert newey_west_variance(series, lags) == pytest.approx(expected)


def test_the_long_run_variance_of_white_noise_is_its_variance():
    noise = np.random.default_rng(1).standard_normal(20_000)
    assert newey_west_variance(noise, 10) == pytest.approx(1.0, abs=0.06)
