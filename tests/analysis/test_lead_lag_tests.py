"""Granger's test and the Hayashi-Yoshida estimator against their references and on planted leads."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.stattools import grangercausalitytests

from crossattn_core.analysis.lead_lag_tests import granger, hayashi_yoshida, shifted_correlations
from crossattn_core.regimes.market_days import fresh_returns
from tests.walk_forward.fakes import synthetic_panel

LEADS = ((0, 1, 2, 0.3), (0, 2, 5, 0.3))


def test_granger_agrees_with_statsmodels() -> None:
    return_TN = np.random.default_rng(0).standard_normal((600, 2))
    return_TN[3:, 1] += 0.2 * return_TN[:-3, 0]
    ours = granger(return_TN, ("x", "y"), lags=4).set_index("leader").loc["x"]
    theirs = grangercausalitytests(pd.DataFrame(return_TN[:, ::-1]), maxlag=[4])[4][0]["ssr_ftest"]
    assert ours["f"] == pytest.approx(theirs[0], rel=0.02)  # theirs has a constant, ours is centred
    assert ours["p_value"] == pytest.approx(theirs[1], rel=0.2)


def test_granger_finds_planted_leads_and_keeps_its_rate_without_any() -> None:
    panel = synthetic_panel(120, 5, leads=LEADS)
    top = granger(fresh_returns(panel), panel.asset_ids, lags=12).head(2)
    assert set(zip(top["leader"], top["follower"], strict=True)) == {(panel.asset_ids[0], panel.asset_ids[n]) for n in (1, 2)}
    p_values = [granger(fresh_returns(synthetic_panel(60, 5, seed=s)), panel.asset_ids, lags=12)["p_value"] for s in range(12)]
    assert (np.concatenate(p_values) < 0.05).mean() == pytest.approx(0.05, abs=0.04)


def test_shifted_correlations_of_synchronous_bars_are_the_plain_ones() -> None:
    panel = synthetic_panel(40, 3, leads=((0, 1, 2, 0.5),), closed_share=0.0)
    return_TN = np.diff(np.log(panel.trade_price_TN), axis=0)
    correlation_ZNN = shifted_correlations(panel.trade_price_TN, max_lag=4)
    x, y = return_TN[:-2, 0], return_TN[2:, 1]
    expected = (x * y).sum() / np.sqrt((return_TN[:, 0] ** 2).sum() * (return_TN[:, 1] ** 2).sum())
    assert correlation_ZNN[4 + 2, 0, 1] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(correlation_ZNN[4 - 2, 1, 0], correlation_ZNN[4 + 2, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.diagonal(correlation_ZNN[4]), 1.0)


def test_bars_that_are_rarely_common_still_show_who_leads() -> None:
    panel = synthetic_panel(300, 2, leads=((0, 1, 3, 0.8),), closed_share=0.6)
    table = hayashi_yoshida(panel.trade_price_TN, panel.asset_ids, max_lag=12)
    best = table.iloc[0]
    assert (best["leader"], best["follower"]) == panel.asset_ids
    assert abs(best["lag"] - 3) <= 1
    assert best["lead_ratio"] > 2


def _plainly(price_TN: np.ndarray, leader: int, follower: int, shift: int) -> float:
    """Hayashi and Yoshida's double sum over overlapping intervals, as in their paper."""
    row_R, row_Q = (np.flatnonzero(np.isfinite(price_TN[:, n])) for n in (leader, follower))
    move_R, move_Q = np.diff(np.log(price_TN[row_R, leader])), np.diff(np.log(price_TN[row_Q, follower]))
    total = 0.0
    for start, end, move in zip(row_R[:-1] + shift, row_R[1:] + shift, move_R, strict=True):
        total += move * move_Q[(row_Q[:-1] < end) & (row_Q[1:] > start)].sum()
    return total / np.sqrt((move_R**2).sum() * (move_Q**2).sum())


def test_shifted_correlations_are_the_double_sum_over_overlapping_intervals() -> None:
    panel = synthetic_panel(20, 3, leads=((0, 1, 2, 0.5),), closed_share=0.4)
    correlation_ZNN = shifted_correlations(panel.trade_price_TN, max_lag=5)
    for shift in (-5, -1, 0, 2, 5):
        for leader, follower in ((0, 1), (1, 0), (2, 1)):
            expected = _plainly(panel.trade_price_TN, leader, follower, shift)
            assert correlation_ZNN[5 + shift, leader, follower] == pytest.approx(expected, abs=1e-12), (shift, leader, follower)


def test_far_shifts_tell_a_lead_from_none() -> None:
    panel = synthetic_panel(150, 5, leads=LEADS, closed_share=0.3)
    table = hayashi_yoshida(panel.trade_price_TN, panel.asset_ids, max_lag=12).set_index(["leader", "follower"])
    led = [(panel.asset_ids[0], panel.asset_ids[n]) for n in (1, 2)]
    assert (table.loc[led, "q_value"] < 0.05).all()
    assert (table.drop(index=led)["q_value"] > 0.05).mean() > 0.8
    # The null's own rate: bold by at most a half at one in twenty, with bars that are common and bars that are not.
    p_values = []
    for seed in range(25):
        nothing = synthetic_panel(120, 5, seed=seed, closed_share=0.5 * (seed % 2))
        p_values.append(hayashi_yoshida(nothing.trade_price_TN, nothing.asset_ids, max_lag=12)["p_value"])
    assert (np.concatenate(p_values) < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_too_little_history_gives_no_p_value() -> None:
    table = hayashi_yoshida(synthetic_panel(14, 3).trade_price_TN, ("a", "b", "c"), max_lag=6)
    assert table["p_value"].isna().all()
    assert table["lead_ratio"].notna().all()


def test_an_asset_without_prices_is_left_out() -> None:
    panel = synthetic_panel(60, 3)
    price_TN = panel.trade_price_TN.copy()
    price_TN[:, 2] = np.nan
    assert panel.asset_ids[2] not in set(hayashi_yoshida(price_TN, panel.asset_ids, max_lag=6)["leader"])
    return_TN = fresh_returns(panel)
    return_TN[:, 2] = np.nan
    assert len(granger(return_TN, panel.asset_ids, lags=6)) == 2


def test_bars_that_overlap_by_their_clocks_are_no_lead() -> None:
    """The second asset's bar ends half an hour after the first's: half of what moves both lies one row later."""
    rng = np.random.default_rng(4)
    half_hours = rng.standard_normal((2 * 24 * 150, 2)) * 0.003 + 0.004 * rng.standard_normal((2 * 24 * 150, 1))
    path = np.exp(np.cumsum(half_hours, axis=0))
    price_TN = np.stack([path[1:-1:2, 0], path[0:-2:2, 1]], axis=1)
    first_lag_NN = np.array([[1, 2], [1, 1]])
    return_TN = np.vstack([[np.nan, np.nan], np.diff(np.log(price_TN), axis=0)])
    key = ["leader", "follower"]
    for clean, expected in ((None, True), (first_lag_NN, False)):
        tests = granger(return_TN, ("early", "late"), lags=6, first_lag_NN=clean).set_index(key)
        assert (tests.loc[("early", "late"), "p_value"] < 1e-6) == expected
        shifts = hayashi_yoshida(price_TN, ("early", "late"), max_lag=6, first_lag_NN=clean).set_index(key)
        assert (shifts.loc[("early", "late"), "p_value"] < 0.01) == expected


def test_a_night_that_two_assets_share_is_no_lead() -> None:
    """Returns over closed hours are long: shifted by an hour they still meet, ahead and behind alike."""
    rng = np.random.default_rng(1)
    move_TN = 0.004 * rng.standard_normal((24 * 180, 1)) + 0.002 * rng.standard_normal((24 * 180, 4))
    price_TN = np.exp(np.cumsum(move_TN, axis=0))
    price_TN[np.arange(24 * 180) % 24 < 17] = np.nan
    table = hayashi_yoshida(price_TN, ("a", "b", "c", "d"), max_lag=12)
    assert np.abs(shifted_correlations(price_TN, max_lag=1)[2, 0, 1]) > 0.3
    assert (table["q_value"] > 0.05).all()
