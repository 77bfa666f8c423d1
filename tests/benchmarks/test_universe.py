"""The benchmark of large universes measures what it says."""

import numpy as np

from benchmarks.bench_universe import MODELS, table, trial
from benchmarks.planted.markets import wide_market


def test_every_fifth_asset_leads_the_four_after_it() -> None:
    market = wide_market(50, 10)
    assert {(edge.leader, edge.follower, edge.lag) for edge in market.edges} == {
        (leader, leader + place, lag) for leader in (0, 5) for place, lag in ((1, 1), (2, 3), (3, 6), (4, 12))
    }


def test_a_trial_of_ridge_finds_the_planted_leaders_and_stands_in_the_table() -> None:
    row = trial("ridge_var", 10, "cpu", bars=4000)
    assert row["edges"] == 8
    assert row["found"] >= 6
    assert row["false"] <= 1
    assert 0.1 < row["ic"] < 0.224 + 3 / np.sqrt(8 * 800)
    assert f"| 10 | ridge_var | cpu | {row['ic']:.3f} | {row['found']} of 8 |" in table([row])
    assert {"lag_bias", "sparse", "factorised", "ridge_var"} <= set(MODELS)
