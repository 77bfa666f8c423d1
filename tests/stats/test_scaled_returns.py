"""Scaled returns look back alone, have unit variance whatever volatility does, and no tails."""

import numpy as np
import pytest

from crossattn_core.stats.scaled_returns import MAX_DEVIATIONS, beside_own_lags, trailing_deviation, volatility_scaled


def _clustered(bars: int = 4000, assets: int = 2) -> np.ndarray:
    rng = np.random.default_rng(3)
    level_T = np.where(np.arange(bars) // 1000 % 2 == 0, 0.003, 0.01)
    return level_T[:, None] * rng.standard_normal((bars, assets))


def test_rewriting_the_future_moves_no_scaled_return() -> None:
    return_TN = _clustered()
    changed_TN = return_TN.copy()
    changed_TN[2000:] *= 50
    np.testing.assert_array_equal(volatility_scaled(return_TN)[:2000], volatility_scaled(changed_TN)[:2000])


def test_calm_and_wild_bars_weigh_alike() -> None:
    scaled_TN = volatility_scaled(_clustered())
    calm, wild = scaled_TN[2800:3000].std(), scaled_TN[3700:4000].std()
    assert wild == pytest.approx(calm, rel=0.25)


def test_tails_are_cut() -> None:
    return_TN = _clustered()
    return_TN[3000, 0] = 1.0
    assert volatility_scaled(return_TN)[3000, 0] == MAX_DEVIATIONS


def test_what_is_unknown_stays_unknown_and_a_gap_does_not_age_the_volatility() -> None:
    return_TN = _clustered()
    return_TN[100:160, 0] = np.nan
    scaled_TN = volatility_scaled(return_TN)
    assert np.isnan(scaled_TN[100:160, 0]).all()
    assert np.isfinite(scaled_TN[160, 0])
    deviation_TN = trailing_deviation(return_TN)
    assert deviation_TN[159, 0] == deviation_TN[99, 0]
    assert np.isnan(scaled_TN[:20]).all()


def test_a_price_that_stands_still_has_no_infinite_return_when_it_moves() -> None:
    return_TN = np.zeros((500, 1))
    return_TN[:100, 0] = 0.001 * np.random.default_rng(1).standard_normal(100)
    return_TN[400, 0] = 0.0001
    assert np.isfinite(volatility_scaled(return_TN)[100:]).all()


def test_an_asset_without_returns_has_no_scaled_ones() -> None:
    assert np.isnan(volatility_scaled(np.full((200, 1), np.nan))).all()


def test_residuals_beside_own_lags_are_uncorrelated_with_them() -> None:
    rng = np.random.default_rng(2)
    value_T = rng.standard_normal(3000)
    for t in range(12, 3000):
        value_T[t] += 0.4 * value_T[t - 12]
    known_TN = np.ones((3000, 1), dtype=bool)
    known_TN[::7] = False
    filled_TN = np.where(known_TN, value_T[:, None] - value_T.mean(), 0.0)
    residual_TN = beside_own_lags(filled_TN, known_TN, 24)
    assert (residual_TN[~known_TN] == 0).all()
    own = np.corrcoef(residual_TN[12:, 0], filled_TN[:-12, 0])[0, 1]
    assert abs(own) < 1e-2
    assert residual_TN.std() < filled_TN.std()
