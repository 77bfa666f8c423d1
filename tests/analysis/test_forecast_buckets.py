"""Returns by bucket of the forecast: by hand, planted, and where there is nothing."""

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy import stats

from crossattn_core.analysis.forecast_buckets import baseline_scores, forecast_buckets, mean_and_error
from crossattn_core.grid import Grid
from tests.report import story

DRAW = np.random.default_rng(4)
OUTCOME_TN = 0.02 * DRAW.standard_normal((400, 46))
DAYS_T = Grid(bar="1d").rows(date(2024, 1, 1), date(2025, 2, 3))
ROWS = np.arange(380)
COST_N = np.full(46, 1e-3)


def sorted_by(score_TN, outcome_TN=OUTCOME_TN, rows_D=ROWS, cost_N=COST_N, horizon=1):
    return forecast_buckets({"it": score_TN}, outcome_TN, DAYS_T, rows_D, cost_N, horizon=horizon).get("it")


def test_a_hand_made_decision_has_its_rank_ic_its_deciles_and_its_cost():
    score_N = DRAW.standard_normal(46)
    outcome_N = np.log1p(0.01 * DRAW.standard_normal(46))
    found = sorted_by(np.tile(score_N, (400, 1)), np.tile(outcome_N, (400, 1)), rows_D=np.array([3, 4]))
    assert found.rank_ic_D[0] == pytest.approx(stats.spearmanr(score_N, outcome_N)[0])
    order, returns = np.argsort(score_N), np.expm1(outcome_N)
    assert found.return_DQ.shape == (2, 10)
    size = [int(((np.arange(46) + 0.5) * 10 / 46).astype(int).tolist().count(q)) for q in range(10)]
    edges = np.cumsum([0, *size])
    by_hand = [returns[order[low:high]].mean() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(found.return_DQ[0], by_hand)
    # Two units are opened at the first decision; the second holds the same assets and trades nothing.
    np.testing.assert_allclose(found.cost_D, [2e-3, 0.0], atol=1e-15)
    np.testing.assert_allclose(found.net_D, [by_hand[-1] - by_hand[0] - 2e-3, by_hand[-1] - by_hand[0]])


def test_a_planted_forecast_is_monotone_and_noise_is_not():
    planted = sorted_by(0.1 * OUTCOME_TN + 0.02 * DRAW.standard_normal(OUTCOME_TN.shape)).summary()
    assert planted["rank_ic"] == pytest.approx(0.095, abs=0.02)
    assert planted["rank_ic_t"] > 8
    assert planted["monotonicity"] > 0.9
    assert planted["gross_t"] > 6
    assert planted["net"] == pytest.approx(planted["gross"] - 2e-3 * 1.8, abs=4e-4)
    noise = sorted_by(DRAW.standard_normal(OUTCOME_TN.shape)).summary()
    assert abs(noise["rank_ic_t"]) < 3
    assert abs(noise["gross_t"]) < 3


def test_noise_is_seldom_significant_although_horizons_and_scores_overlap():
    beyond = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        daily_TN = 0.01 * draw.standard_normal((400, 20))
        total_TN = np.cumsum(daily_TN, axis=0)
        outcome_TN = np.full((400, 20), np.nan)
        outcome_TN[:-7] = total_TN[7:] - total_TN[:-7]
        # A score that lasts: its bets overlap as its outcomes do.
        score_TN = np.cumsum(draw.standard_normal((400, 20)), axis=0)
        found = sorted_by(score_TN, outcome_TN, cost_N=np.zeros(20), horizon=7)
        assert found.overlap == 7
        beyond += abs(found.summary()["rank_ic_t"]) > 1.96
    assert beyond / 200 < 0.12


def test_an_order_that_expires_is_replaced_by_the_decision_a_horizon_later():
    score_TN = np.tile(np.arange(46.0), (400, 1))
    turned_TN = np.where(np.arange(400)[:, None] % 2 == 0, score_TN, -score_TN)
    daily = sorted_by(turned_TN, horizon=2)
    # Two cohorts, each of which holds the same assets for ever.
    np.testing.assert_allclose(daily.cost_D[:2], 2e-3)
    np.testing.assert_allclose(daily.cost_D[2:], 0.0, atol=1e-15)
    # Held for a day of three: closed and opened again, whatever comes next.
    apart = sorted_by(score_TN, rows_D=ROWS[::3], horizon=1)
    np.testing.assert_allclose(apart.cost_D[1:], 4e-3)


def test_equal_scores_share_a_bucket_and_a_flat_forecast_is_no_decision():
    few_N = np.repeat([0.0, 1.0], 23)
    found = sorted_by(np.tile(few_N, (400, 1)))
    assert np.isfinite(found.return_DQ[0]).sum() == 2
    assert np.isnan(found.gross_D).all()
    assert sorted_by(np.zeros(OUTCOME_TN.shape)) is None


def test_fewer_assets_have_fewer_buckets_and_under_ten_there_is_none():
    assert sorted_by(OUTCOME_TN[:, :11], OUTCOME_TN[:, :11], cost_N=COST_N[:11]).return_DQ.shape == (380, 5)
    assert sorted_by(OUTCOME_TN[:, :9], OUTCOME_TN[:, :9], cost_N=COST_N[:9]) is None
    some_TN = np.where(np.arange(46) < 37, np.nan, OUTCOME_TN)
    assert sorted_by(some_TN) is None


def test_a_decision_whose_outcome_is_not_known_yet_is_left_out():
    outcome_TN = OUTCOME_TN.copy()
    outcome_TN[300:] = np.nan
    found = sorted_by(OUTCOME_TN, outcome_TN)
    assert len(found.as_of_D) == 300
    assert found.as_of_D[-1] == DAYS_T[299]


@pytest.mark.parametrize("bar", ["1m", "1h", "1d"])
def test_baselines_read_the_past_alone(bar):
    of = story.experiment(bar)
    on = story.panel(of, last=date(2025, 1, 10))
    cut = len(on.as_of_T) // 2
    later_TN = on.mark_price_TN.copy()
    later_TN[cut:] *= 2.0
    changed = replace(on, mark_price_TN=later_TN)
    for name, score_TN in baseline_scores(on, momentum_bars=3, reversal_bars=1).items():
        again_TN = baseline_scores(changed, momentum_bars=3, reversal_bars=1)[name]
        np.testing.assert_array_equal(score_TN[:cut], again_TN[:cut])


def test_a_mean_of_few_decisions_has_no_error():
    mean, error = mean_and_error(np.arange(10.0), 1)
    assert mean == 4.5
    assert np.isnan(error)
