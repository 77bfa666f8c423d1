"""The quick cut of the planted suite: known leads are found, none are invented, a leak is seen at once."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.bench_planted import NEXT_BAR, table_cell
from benchmarks.planted.markets import (
    LEADS_OF_ONE,
    MARKETS,
    PlantedEdge,
    planted_experiment,
    planted_market,
    planted_suite_market,
)
from benchmarks.planted.trial import PlantedTrial, at_next_open, run_trial, walk_forward_weights
from crossattn_core.panel.labels import compute_labels, next_bar_labels
from crossattn_core.panel.windows import bar_log_returns

BARS = 5000
QUICK = {"model": {"width": 32, "layers": 1, "lookback": 72, "patch": 24}}


@pytest.mark.parametrize("edge", LEADS_OF_ONE)
def test_a_planted_edge_explains_its_share_of_the_follower(edge: PlantedEdge) -> None:
    panel = planted_market(bars=40_000, seed=1)
    return_TN = bar_log_returns(panel)
    leader_T, follower_T = return_TN[: -edge.lag, edge.leader], return_TN[edge.lag :, edge.follower]
    share = np.corrcoef(leader_T, follower_T)[0, 1] ** 2
    assert share == pytest.approx(edge.share, abs=0.01)


@pytest.mark.parametrize("name", sorted(MARKETS))
def test_a_market_of_the_suite_is_the_same_for_the_same_seed(name: str) -> None:
    first, second = (planted_suite_market(name, 3, bars=300) for _ in range(2))
    np.testing.assert_array_equal(first.panel.feature_TNF, second.panel.feature_TNF)
    np.testing.assert_array_equal(first.panel.trade_price_TN, second.panel.trade_price_TN)


def test_a_circle_of_leaders_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        planted_market(bars=100, edges=(PlantedEdge(0, 1, 1), PlantedEdge(1, 0, 1)))


def test_linear_leads_are_found_about_as_well_as_ridge_finds_them() -> None:
    market = planted_suite_market("linear 5%", 1, bars=BARS)
    ours, ridge = (run_trial(family, market, 0, QUICK) for family in ("attention", "ridge_var"))
    assert ours.ic >= 0.9 * ridge.ic
    assert ours.edges_found == ours.edges == 4
    assert ours.named_falsely == 0


def test_squared_leads_are_found_where_ridge_is_blind() -> None:
    market = planted_suite_market("squared 5%", 1, bars=BARS)
    ours, ridge = (run_trial(family, market, 0, QUICK) for family in ("attention", "ridge_var"))
    assert ours.ic >= max(3 * ridge.ic, 0.1)
    assert ours.edges_found >= 3


def test_nobody_is_named_where_nobody_leads() -> None:
    trial = run_trial("attention", planted_suite_market("null", 1, bars=BARS // 2), 0, QUICK)
    assert trial.named == 0
    assert abs(trial.ic) < 0.06


@pytest.mark.parametrize("name", ["null", "leaked label"])
def test_trees_have_an_ic_where_they_have_nothing_to_grow_on(name: str) -> None:
    trial = run_trial("lightgbm", planted_suite_market(name, 1, bars=2000), 0, {"baselines": {"boosted_trees": 20}})
    assert abs(trial.ic) < 0.1
    assert table_cell([trial]) != "-"


def test_a_forecast_that_never_moves_has_an_ic_of_0_and_finds_no_edge() -> None:
    silent = run_trial("adaptive_lasso", planted_suite_market("squared 1%", 1, bars=1000), 0)
    assert (silent.ic, silent.constant, silent.edges_found) == (0.0, True, 0)
    assert table_cell([silent]) == "0 (constant); 0/4; 0 named, 0 false"
    assert PlantedTrial(**json.loads(json.dumps(asdict(silent)))).edges_found == 0


def test_weights_are_filled_at_the_open_of_the_bar_that_is_forecast() -> None:
    market = planted_suite_market("sessions", 1, bars=400)
    panel = at_next_open(market.panel)
    labels = planted_experiment(panel, {"labels": {"horizons": [1], "trade_horizon": 1}}).labels
    earned_TN, next_bar_TN = compute_labels(panel, labels).value_TNH[..., 0], next_bar_labels(market.panel).value_TNH[..., 0]
    always_open = [0, 1, 2]
    np.testing.assert_allclose(earned_TN[:-2, always_open], next_bar_TN[:-2, always_open], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(np.isfinite(panel.trade_price_TN), np.isfinite(market.panel.trade_price_TN))


@pytest.mark.slow
def test_weights_trained_on_the_sharpe_ratio_find_leads_that_pay() -> None:
    trial = run_trial("sharpe_attention", planted_suite_market("linear 5%", 1, bars=BARS), 0, QUICK | NEXT_BAR)
    assert trial.ic >= 0.1
    assert trial.edges_found >= 3


def test_a_leaked_label_is_seen_at_once() -> None:
    trial = run_trial("attention", planted_suite_market("leaked label", 1, bars=BARS), 0, QUICK)
    assert trial.ic >= 0.95


def test_rows_are_weighed_by_age_and_by_the_regime_in_force() -> None:
    market = planted_suite_market("switching leader", 0)
    cut_off = 6400
    weight_T = walk_forward_weights(market.panel, cut_off, planted_experiment(market.panel))
    assert len(weight_T) == cut_off + 1
    # The leader and the regime switched at row 4000; the model of row 6400 should listen to what came after.
    assert weight_T[4500:].mean() > 2 * weight_T[:3900].mean()


def test_a_leader_that_switched_with_the_regime_is_followed_by_rows_weighed_as_the_walk_forward_weighs_them() -> None:
    market = planted_suite_market("switching leader", 0)
    alike, weighed = (run_trial("ridge_var", market, 0, weigh_rows=weigh) for weigh in (False, True))
    assert weighed.edges_found == weighed.edges == 4
    assert weighed.ic > alike.ic
