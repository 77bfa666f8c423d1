"""Edges named by a method are held against the planted ones; the whole trial is in benchmarks/bench_leads."""

import numpy as np
import pytest

from benchmarks.planted.lead_trial import METHODS, find_edges, leads_in_returns, leads_named, planted_behind, score_edges
from benchmarks.planted.markets import planted_suite_market

SMALL = {"model": {"lookback": 48, "layers": 1, "width": 32}, "training": {"epochs": 4}}


def test_a_score_counts_what_is_named_found_and_how_far_off() -> None:
    market = planted_suite_market("linear 5%", 0, bars=500)  # 0 leads 1, 2, 3, 4 by 1, 3, 6, 12 hours
    score = score_edges({(0, 1): 1.0, (0, 2): 5.0, (0, 4): float("nan"), (5, 3): 2.0}, market)
    assert (score.planted, score.named, score.found) == (4, 4, 3)
    assert score.lag_error == pytest.approx(1.0)
    assert np.isnan(score_edges({}, market).lag_error)


def test_every_method_answers_and_the_statistics_find_strong_leads_at_their_lags() -> None:
    market = planted_suite_market("linear 5%", 0, bars=2400)
    edges = find_edges(market, 0, SMALL)
    assert set(edges) == set(METHODS)
    for method in ("correlation", "hayashi_yoshida"):
        score = score_edges(edges[method], market)
        assert score.found >= 3, method
        assert score.lag_error == 0.0, method


def test_leads_of_the_size_of_real_ones_are_found_among_ticks_bounce_schedules_and_a_common_factor() -> None:
    market = planted_suite_market("real-like", 0)
    edges = leads_in_returns(market)
    score = score_edges(edges, market)
    assert score.found == score.named
    assert {planted_behind(pair, market) for pair in edges} == set(market.edges)
    assert score.lag_error == 0.0


@pytest.mark.slow
def test_the_whole_gate_names_most_leads_of_the_size_of_real_ones_and_nothing_else() -> None:
    found = 0
    for seed in range(3):
        market = planted_suite_market("real-like", seed)
        edges = leads_named(market, seed)
        score = score_edges(edges, market)
        assert (score.found, score.lag_error) == (score.named, 0.0)
        found += len({planted_behind(pair, market) for pair in edges})
    assert found >= 6


def test_none_is_named_on_real_like_markets_without_leads() -> None:
    named = [bool(leads_in_returns(planted_suite_market("real-like null", seed))) for seed in range(5)]
    assert not any(named)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["null", "real-like null"])
def test_at_most_one_market_without_leads_in_twenty_names_any(name: str) -> None:
    # The statistical steps come first and cost little: a model is fitted where they leave a lead, which alone could be named.
    named = 0
    for seed in range(60):
        market = planted_suite_market(name, seed)
        if leads_in_returns(market):
            named += bool(leads_named(market, seed))
    assert named <= 3
