import numpy as np
import pytest
import statsmodels.api as sm

from crossattn_core.backtest.comparison import benchmark_relative, diebold_mariano, newey_west_variance

DRAW = np.random.default_rng(5)
MARKET = 0.01 * DRAW.standard_normal(600)
RETURNS = 0.0005 + 0.7 * MARKET + 0.005 * DRAW.standard_normal(600)


def test_alpha_and_beta_equal_statsmodels_with_newey_west_errors():
    fit = sm.OLS(RETURNS, sm.add_constant(MARKET)).fit(cov_type="HAC", cov_kwds={"maxlags": 24, "use_correction": False})
    found = benchmark_relative(RETURNS, MARKET, periods=252)
    assert found.alpha == pytest.approx(fit.params[0] * 252)
    assert found.beta == pytest.approx(fit.params[1])
    assert found.alpha_t == pytest.approx(fit.tvalues[0])


def test_a_series_beside_itself_has_beta_one_and_no_tracking_error():
    found = benchmark_relative(MARKET, MARKET)
    assert found.beta == pytest.approx(1)
    assert found.tracking_error == 0
    assert np.isnan(found.information_ratio)


def test_a_benchmark_that_never_moves_has_no_beta():
    assert np.isnan(benchmark_relative(RETURNS, np.zeros(600)).beta)


def test_the_long_run_variance_of_white_noise_is_its_variance():
    noise = np.random.default_rng(1).standard_normal(20_000)
    assert newey_west_variance(noise, 10) == pytest.approx(1.0, abs=0.06)


def test_equally_good_forecasts_are_rejected_about_as_often_as_stated():
    draw = np.random.default_rng(2)
    rejected = 0
    for _ in range(300):
        truth, first, second = draw.standard_normal((3, 200))
        rejected += diebold_mariano((truth - first) ** 2, (truth - second) ** 2).p_value < 0.05
    assert 0.02 < rejected / 300 < 0.09


def test_a_better_forecast_has_a_negative_statistic():
    draw = np.random.default_rng(3)
    truth = draw.standard_normal(400)
    good, bad = truth + 0.3 * draw.standard_normal(400), truth + 0.8 * draw.standard_normal(400)
    found = diebold_mariano((truth - good) ** 2, (truth - bad) ** 2)
    assert found.statistic < -3
    assert found.p_value < 0.01


def test_rows_without_a_loss_are_left_out():
    first, second = np.array([1.0, np.nan, 2.0, 1.5, 1.0]), np.array([1.1, 1.0, np.nan, 1.0, 0.2])
    assert diebold_mariano(first, second).rows == 3
