import numpy as np
import pytest
import statsmodels.api as sm

from crossattn_core.backtest.comparison import benchmark_relative

DRAW = np.random.default_rng(5)
MARKET = 0.01 * DRAW.standard_normal(600)
RETURNS = 0.0005 + 0.7 * MARKET + 0.005 * DRAW.standard_normal(600)


@pytest.mark.parametrize("per_day", [24, 6, 1])
def test_alpha_and_beta_equal_statsmodels_with_newey_west_errors_over_a_day(per_day):
    fit = sm.OLS(RETURNS, sm.add_constant(MARKET)).fit(cov_type="HAC", cov_kwds={"maxlags": per_day, "use_correction": False})
    found = benchmark_relative(RETURNS, MARKET, periods_per_day=per_day, days_per_year=252)
    assert found.alpha == pytest.approx(fit.params[0] * per_day * 252)
    assert found.beta == pytest.approx(fit.params[1])
    assert found.alpha_t == pytest.approx(fit.tvalues[0])


def test_a_series_beside_itself_has_beta_one_and_no_tracking_error():
    found = benchmark_relative(MARKET, MARKET, periods_per_day=24)
    assert found.beta == pytest.approx(1)
    assert found.tracking_error == 0
    assert np.isnan(found.information_ratio)


def test_a_benchmark_that_never_moves_has_no_beta():
    assert np.isnan(benchmark_relative(RETURNS, np.zeros(600), periods_per_day=24).beta)
