"""Local leads: found at their lag, from bars before the day alone, and what they say is what is still to come."""

from dataclasses import replace

import numpy as np

from benchmarks.planted.markets import LEADS_OF_ONE, planted_experiment, planted_market, planted_suite_market
from benchmarks.planted.trial import run_trial
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.local_lead_lag import FittedLocalLeads, lagged_correlations, strongest_leads
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.panel import Panel

BARS = 2000


def fitted(panel: Panel) -> FittedLocalLeads:
    request = FitRequest(panel, 1600, np.ones(len(panel.as_of_T), np.float32), seed=0)
    model = fit_model("local_lead_lag", request, planted_experiment(panel))
    assert isinstance(model, FittedLocalLeads)
    return model


def test_lagged_correlations_are_those_of_numpy() -> None:
    window_WN = np.random.default_rng(0).standard_normal((500, 3))
    window_WN -= window_WN.mean(axis=0)
    found_NML = lagged_correlations(window_WN, lags=4, bars=500)
    for n, m, lag in ((0, 1, 1), (2, 0, 4)):
        expected = np.corrcoef(window_WN[lag:, n], window_WN[:-lag, m])[0, 1]
        np.testing.assert_allclose(found_NML[n, m, lag - 1], expected, atol=0.005)
    assert not found_NML[np.arange(3), np.arange(3)].any()
    short_NML = lagged_correlations(window_WN[:100], lags=4, bars=500)
    np.testing.assert_allclose(short_NML, lagged_correlations(window_WN[:100], lags=4, bars=100) / 5)


def test_the_strongest_lead_comes_first_with_its_lag_and_sign() -> None:
    correlation_NML = np.zeros((3, 3, 4))
    correlation_NML[0, 1, 2], correlation_NML[0, 2, 0], correlation_NML[0, 2, 3] = -0.3, 0.1, 0.2
    leads = strongest_leads(correlation_NML, leaders=2)
    assert leads.source_NK[0].tolist() == [1, 2]
    assert leads.lag_NK[0].tolist() == [3, 4]
    assert leads.correlation_NK[0].tolist() == [-0.3, 0.2]
    assert not (leads.source_NK == np.arange(3)[:, None]).any()


def test_leaders_of_a_day_are_read_off_the_bars_before_it() -> None:
    panel = planted_market(BARS, seed=2)
    model = fitted(panel)
    midday = 1800 - 1800 % 24 + 11
    leads = model.leads_at(panel, midday)
    price_TN = panel.mark_price_TN.copy()
    price_TN[midday - 11 :] *= np.exp(np.random.default_rng(0).standard_normal(price_TN[midday - 11 :].shape))
    rewritten = replace(panel, mark_price_TN=price_TN, trade_price_TN=price_TN)
    after = model.leads_at(rewritten, midday)
    np.testing.assert_array_equal(after.source_NK, leads.source_NK)
    np.testing.assert_array_equal(after.correlation_NK, leads.correlation_NK)
    assert not np.array_equal(
        model.leads_at(rewritten, midday + 24).correlation_NK, model.leads_at(panel, midday + 24).correlation_NK
    )


def test_a_forecast_moves_with_the_leaders_bar_that_is_due() -> None:
    panel = planted_market(BARS, seed=2)
    model = fitted(panel)
    leads = model.leads_at(panel, 1811)
    edge = LEADS_OF_ONE[1]
    assert (leads.source_NK[edge.follower, 0], leads.lag_NK[edge.follower, 0]) == (edge.leader, edge.lag)
    before_N = model.forecast_next_bar(panel, np.array([1811]))[0]
    price_TN = panel.mark_price_TN.copy()
    # The leader jumps in the bar that the next bar of the follower repeats, and is back a bar later.
    price_TN[1811 + 1 - edge.lag, edge.leader] *= 1.005
    jumped = replace(panel, mark_price_TN=price_TN, trade_price_TN=price_TN)
    after_N = model.forecast_next_bar(jumped, np.array([1811]))[0]
    assert after_N[edge.follower] > before_N[edge.follower] + 5e-4


def test_a_leader_that_switched_is_followed_without_weighing_rows() -> None:
    trial = run_trial("local_lead_lag", planted_suite_market("switching leader", 0), 0)
    assert trial.ic > 0.15
    assert trial.edges_found == trial.edges == 4
    assert trial.named_falsely == 0
