"""The classical statistics find what was planted and name nothing where nothing is."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis import lead_lag as lead_lag_module
from crossattn_core.analysis.lead_lag import _shifts, first_clean_lags, lag_prior, lead_lag
from crossattn_core.analysis.lead_lag_tests import granger
from crossattn_core.analysis.leader_groups import LeaderGroup
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.regimes.market_days import fresh_returns
from crossattn_core.stats.scaled_returns import volatility_scaled
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


def test_one_test_with_groups_holds_the_test_without_them() -> None:
    panel = synthetic_panel(90, 5, leads=((0, 1, 2, 0.3),), closed_share=0.2)
    asked = {"max_lag": 12, "permutations": 60}
    both = lead_lag(fresh_returns(panel), panel.asset_ids, groups=(LeaderGroup("market", (0, 1, 2, 3, 4)),), **asked)
    alone = lead_lag(fresh_returns(panel), panel.asset_ids, **asked)
    pd.testing.assert_frame_equal(both.asset_pairs, alone.pairs)
    assert "market" in set(both.pairs["leader"])


def test_evidence_pictures_and_page_of_one_day_share_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    panel, tests = synthetic_panel(90, 4), []
    plain = lead_lag_module.lead_lag
    monkeypatch.setattr(lead_lag_module, "lead_lag", lambda *given, **asked: tests.append(1) or plain(*given, **asked))
    settings, groups = AnalysisSettings(max_lag=6, permutations=20), (LeaderGroup("market", (0, 1, 2, 3)),)
    for _ in range(3):
        lead_lag_module.lead_lag_of(panel, settings, groups)
    assert len(tests) == 1
    lead_lag_module.lead_lag_of(panel.until(80 * 24), settings, groups)
    assert len(tests) == 2


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


def _moving_together(bars: int, assets: int, seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    factor_T = generator.standard_normal(bars)
    return generator, factor_T, 0.7 * factor_T[:, None] + 0.7 * generator.standard_normal((bars, assets))


def _least_q(move_TN: np.ndarray, max_lag: int = 24) -> float:
    ids = tuple(f"A{n}" for n in range(move_TN.shape[1]))
    return lead_lag(volatility_scaled(0.01 * move_TN), ids, max_lag=max_lag, permutations=200).pairs["q_value"].min()


@pytest.mark.parametrize("seed", range(3))
def test_a_schedule_is_no_lead_of_those_that_move_by_it(seed: int) -> None:
    generator, factor_T, _ = _moving_together(26_000, 5, seed)
    # Every 12 bars what they share moves as it did 12 bars before.
    for t in range(12, len(factor_T), 12):
        factor_T[t] = 0.5 * factor_T[t - 12] + 0.9 * factor_T[t]
    move_TN = 0.7 * factor_T[:, None] + 0.7 * generator.standard_normal((len(factor_T), 5))
    plain = np.corrcoef(move_TN[:-12, 0], move_TN[12:, 1])[0, 1]
    assert plain * np.sqrt(len(move_TN)) > 2.5
    assert _least_q(move_TN) > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_bid_ask_bounce_and_ticks_are_no_lead(seed: int) -> None:
    generator, _, move_TN = _moving_together(26_000, 5, seed)
    price_TN = np.cumsum(move_TN, axis=0)
    price_TN[:, 0] = np.round(price_TN[:, 0])
    price_TN[:, 1] += generator.choice([-0.5, 0.5], len(price_TN))
    printed_TN = np.diff(price_TN, axis=0)
    # Beside its own lags alone asset 1 would seem to follow: the others tell which way it bounced.
    alone = granger(printed_TN, tuple("01234"), lags=24)
    assert alone[alone["follower"] == "1"]["q_value"].max() < 0.01
    assert _least_q(printed_TN) > 0.05


def test_a_lead_of_a_few_thousandths_of_the_variance_is_found_under_bounce_and_clustered_volatility() -> None:
    generator, factor_T, move_TN = _moving_together(40_000, 4, 5)
    move_TN[1:, 3] += 0.07 * factor_T[:-1]
    move_TN *= np.exp(0.8 * np.sin(np.arange(40_000) / 900))[:, None]
    price_TN = np.cumsum(move_TN, axis=0)
    price_TN += generator.choice([-0.3, 0.3], price_TN.shape)
    ids = tuple("0123")
    pairs = lead_lag(volatility_scaled(0.01 * np.diff(price_TN, axis=0)), ids, max_lag=24, permutations=200).pairs
    found = pairs[pairs["q_value"] <= 0.05]
    assert set(found["follower"]) == {"3"}
    assert set(found["lag"]) == {1}


def test_near_lags_are_likelier_before_anything_is_seen() -> None:
    prior_L = lag_prior(np.array(1), 24)
    assert prior_L.sum() == pytest.approx(1.0)
    assert prior_L[0] == pytest.approx(24 * prior_L[23])
    assert lag_prior(np.array(3), 4).tolist() == pytest.approx([0, 0, 4 / 7, 3 / 7])


def test_shifts_are_whole_days_or_hours_where_weeks_are_too_few() -> None:
    # A month of minutes: shifts of whole hours keep a schedule within the hour in the null.
    shift_S = _shifts(43_200, 24, 200, 1440)
    assert len(shift_S) == 200
    assert (shift_S % 60 == 0).all()
    assert (_shifts(24 * 365 * 5, 24, 200, 24) % 168 == 0).all()
    assert (_shifts(24 * 365, 24, 200, 24) % 24 == 0).all()


def test_in_a_large_universe_pairs_that_cannot_pass_are_not_shifted_and_every_verdict_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    return_TN = rng.standard_normal((1200, 12))
    for n in (1, 2, 3, 7, 8):
        return_TN[n:, n] += 0.3 * return_TN[:-n, 5 * (n // 5)]
    return_TN[rng.random(return_TN.shape) < 0.01] = np.nan
    return_TN[:600, 4] = np.nan
    ids, keys = tuple(f"A{n}" for n in range(12)), ["leader", "follower"]
    groups = (LeaderGroup("market", tuple(range(12))),)
    every = lead_lag(return_TN, ids, max_lag=8, permutations=100, groups=groups)
    monkeypatch.setattr(lead_lag_module, "_ALL_SHIFTED", 5)
    screened = lead_lag(return_TN, ids, max_lag=8, permutations=100, groups=groups)
    np.testing.assert_allclose(screened.z_KLMN, every.z_KLMN, atol=1e-9)
    np.testing.assert_allclose(screened.correlation_KLMN, every.correlation_KLMN, atol=1e-9)
    both = every.pairs.merge(screened.pairs, on=keys, suffixes=("", "_screened"))
    assert len(both) == len(every.pairs) == len(screened.pairs)
    assert ((both["q_value"] <= 0.05) == (both["q_value_screened"] <= 0.05)).all()
    passed = both[both["q_value"] <= 0.05]
    assert len(passed) >= 5
    np.testing.assert_allclose(passed["z_screened"], passed["z"], atol=1e-9)
    assert (passed["lag"] == passed["lag_screened"]).all()
