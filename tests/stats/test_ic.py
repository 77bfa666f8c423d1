import numpy as np
import pytest

from crossattn_core.stats.ic import ic_of_sums, information_coefficient, mean_ic, mean_ic_of_sums


def _pairs(rows: int = 300, assets: int = 3):
    forecast_TN, noise_TN = np.random.default_rng(0).standard_normal((2, rows, assets)) * 0.01
    outcome_TN = 0.3 * forecast_TN + noise_TN
    outcome_TN[::7, 1] = np.nan
    return forecast_TN, outcome_TN


def _loop(forecast_TN, outcome_TN) -> list[float]:
    known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TN)
    return [float(np.corrcoef(forecast_TN[known, n], outcome_TN[known, n])[0, 1]) for n, known in enumerate(known_TN.T)]


def _sums(forecast_TN, outcome_TN) -> np.ndarray:
    known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TN)
    x_TN, y_TN = (np.where(known_TN, value_TN, 0.0) for value_TN in (forecast_TN, outcome_TN))
    terms = (known_TN, x_TN, y_TN, x_TN**2, y_TN**2, x_TN * y_TN)
    return np.stack([term_TN.sum(axis=0) for term_TN in terms], axis=-1)


def test_ic_is_the_plain_correlation_over_known_pairs():
    np.testing.assert_allclose(information_coefficient(*_pairs()), _loop(*_pairs()), atol=1e-12)


def test_ic_of_sums_is_the_ic_of_the_pairs():
    sums_NK = _sums(*_pairs())
    np.testing.assert_allclose(ic_of_sums(sums_NK), _loop(*_pairs()), atol=1e-12)
    assert mean_ic_of_sums(np.stack([sums_NK, 2 * sums_NK])) == pytest.approx(2 * [np.mean(_loop(*_pairs()))])


def test_mean_ic_is_the_average_of_the_assets_correlations():
    assert mean_ic(*_pairs()) == pytest.approx(np.mean(_loop(*_pairs())))


def test_an_asset_with_too_few_pairs_or_without_variation_has_no_ic():
    forecast_TN, outcome_TN = _pairs()
    forecast_TN[20:, 0] = np.nan
    forecast_TN[:, 2] = 0.5
    assert np.isnan(information_coefficient(forecast_TN, outcome_TN)).tolist() == [True, False, True]
    assert np.isnan(ic_of_sums(_sums(forecast_TN, outcome_TN), min_spread=1e-20)).tolist() == [True, False, True]
    assert mean_ic(forecast_TN, outcome_TN) == pytest.approx(_loop(forecast_TN[:, [1]], outcome_TN[:, [1]])[0])


def test_without_enough_pairs_there_is_no_mean():
    forecast_TN, outcome_TN = _pairs(20)
    assert np.isnan(mean_ic(forecast_TN, outcome_TN))
    assert np.isnan(mean_ic_of_sums(_sums(forecast_TN, outcome_TN)))
