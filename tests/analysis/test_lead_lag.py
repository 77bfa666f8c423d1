"""The classical statistics find what was planted and name nothing where nothing is."""

import dataclasses

import numpy as np
import pytest

from crossattn_core.analysis.lead_lag import first_clean_lags, lead_lag
from crossattn_core.regimes.market_days import fresh_returns
from tests.walk_forward.fakes import synthetic_panel


def _pairs(panel, **changes):
    return lead_lag(fresh_returns(panel), panel.asset_ids, **({"max_lag": 24, "permutations": 200} | changes)).pairs


def test_planted_leads_are_the_strongest_pairs_at_their_lags() -> None:
    leads = ((0, 1, 1, 0.25), (0, 2, 3, 0.25), (2, 3, 12, 0.3))
    panel = synthetic_panel(180, 6, leads=leads)
    top = _pairs(panel).head(3).set_index("follower")
    for leader, follower, lag, _ in leads:
        row = top.loc[panel.asset_ids[follower]]
        assert (row["leader"], row["lag"], row["shape"]) == (panel.asset_ids[leader], lag, "linear")
        assert row["q_value"] < 0.01


def test_independent_markets_yield_no_more_pairs_than_the_rate_allows() -> None:
    named = [(_pairs(synthetic_panel(60, 6, seed=seed))["q_value"] <= 0.05).any() for seed in range(30)]
    assert np.mean(named) <= 0.2


def test_p_values_are_uniform_without_a_lead() -> None:
    p_values = np.concatenate([_pairs(synthetic_panel(60, 6, seed=seed))["p_value"] for seed in range(20)])
    assert np.mean(p_values < 0.1) == pytest.approx(0.1, abs=0.04)


def test_a_lead_in_the_size_of_moves_is_found_as_squared() -> None:
    panel = synthetic_panel(180, 3)
    return_TN = fresh_returns(panel)
    size_T = np.nan_to_num(return_TN[:, 0]) ** 2
    return_TN[5:, 1] += 0.3 * 0.005 * (size_T[:-5] - size_T.mean()) / size_T.std()
    best = lead_lag(return_TN, panel.asset_ids, max_lag=12, permutations=200).pairs.iloc[0]
    assert (best["follower"], best["lag"], best["shape"]) == (panel.asset_ids[1], 5, "squared")


def test_the_statistic_is_the_plain_sum_over_hours_that_both_traded() -> None:
    panel = synthetic_panel(40, 3, closed_share=0.2)
    return_TN = fresh_returns(panel)
    known_TN = np.isfinite(return_TN)
    centred_TN = np.where(known_TN, return_TN - np.nanmean(return_TN, axis=0), 0.0)
    found = lead_lag(return_TN, panel.asset_ids, max_lag=8, permutations=20)
    x, y = centred_TN[:-8, 0], centred_TN[8:, 2]
    assert found.z_KLMN[0, 7, 0, 2] == pytest.approx((x * y).sum() / np.sqrt((x**2 * y**2).sum()))
    both = known_TN[:-8, 0] & known_TN[8:, 2]
    expected = (x * y).sum() / np.sqrt((x[both] ** 2).sum() * (y[both] ** 2).sum())
    assert found.correlation_KLMN[0, 7, 0, 2] == pytest.approx(expected)


def test_an_asset_that_never_trades_has_no_pair() -> None:
    panel = synthetic_panel(40, 3)
    return_TN = fresh_returns(panel)
    return_TN[:, 1] = np.nan
    pairs = lead_lag(return_TN, panel.asset_ids, max_lag=8, permutations=50).pairs
    assert panel.asset_ids[1] not in set(pairs["leader"]) | set(pairs["follower"])


def test_bars_that_overlap_in_time_are_no_lead() -> None:
    # Asset 1 closes half an hour before the row: its bar at row t + 1 shares half an hour with asset 0's at row t.
    generator = np.random.default_rng(0)
    half_hour_T = generator.standard_normal(2 * 24 * 180 + 2)
    coin_T = half_hour_T[1:-1].reshape(-1, 2).sum(axis=1)
    stock_T = half_hour_T[:-2].reshape(-1, 2).sum(axis=1)
    panel = synthetic_panel(180, 2, closed_share=0.0)
    age_TN = np.tile(np.array([0.0, 0.5], dtype=np.float32), (len(coin_T), 1))
    first_lag_NN = first_clean_lags(dataclasses.replace(panel, age_hours_TN=age_TN))
    assert first_lag_NN.tolist() == [[1, 2], [1, 1]]
    return_TN = np.stack([coin_T, stock_T], axis=1)
    plain, clean = (
        lead_lag(return_TN, panel.asset_ids, max_lag=6, permutations=200, first_lag_NN=first).pairs.set_index("leader")
        for first in (None, first_lag_NN)
    )
    assert plain.loc[panel.asset_ids[0], "q_value"] < 0.01
    assert plain.loc[panel.asset_ids[0], "lag"] == 1
    assert clean.loc[panel.asset_ids[0], "q_value"] > 0.05
