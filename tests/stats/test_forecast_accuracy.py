import numpy as np
import pytest
from statsmodels.stats.sandwich_covariance import S_hac_simple

from crossattn_core.stats.forecast_accuracy import diebold_mariano


def test_the_statistic_is_the_mean_difference_over_statsmodels_long_run_error():
    draw = np.random.default_rng(4)
    first, second = draw.standard_normal((2, 300)) ** 2
    difference, horizon = first - second, 5
    variance = S_hac_simple((difference - difference.mean())[:, None], nlags=horizon - 1)[0, 0] / 300**2
    harvey = np.sqrt((300 + 1 - 2 * horizon + horizon * (horizon - 1) / 300) / 300)
    expected = harvey * difference.mean() / np.sqrt(variance)
    assert diebold_mariano(first, second, horizon).statistic == pytest.approx(expected)


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
