import numpy as np
import pytest
from arch.bootstrap import CircularBlockBootstrap, StationaryBootstrap, optimal_block_length

from crossattn_core.stats.bootstrap import (
    block_counts,
    circular_block_sums,
    percentile_interval,
    rows_drawn,
    stationary_bootstrap,
)

VALUES = np.random.default_rng(3).standard_normal((60, 2))


def test_circular_block_sums_are_those_of_archs_draws():
    drawn = [value[0].sum(axis=0) for value, _ in CircularBlockBootstrap(5, VALUES, seed=np.random.default_rng(7)).bootstrap(50)]
    np.testing.assert_allclose(circular_block_sums(VALUES, block=5, samples=50, seed=7), drawn, atol=1e-12)


def test_a_last_block_is_drawn_whole():
    assert (rows_drawn(60, 5), rows_drawn(61, 5), rows_drawn(3, 5)) == (60, 65, 3)
    counted = circular_block_sums(np.ones((61, 1)), block=5, samples=20, seed=1)
    np.testing.assert_allclose(counted, 65.0)


def test_the_stationary_bootstrap_is_archs_with_the_longest_of_the_best_blocks():
    slow = np.cumsum(VALUES, axis=0)
    drawn, block = stationary_bootstrap(slow, lambda draw: draw.mean(axis=0), min_block=2, samples=30, seed=5)
    assert block == max(2, round(optimal_block_length(slow)["stationary"].max()))
    means = [value[0].mean(axis=0) for value, _ in StationaryBootstrap(block, slow, seed=np.random.default_rng(5)).bootstrap(30)]
    np.testing.assert_array_equal(drawn, means)


def test_a_block_is_never_shorter_than_asked():
    assert stationary_bootstrap(VALUES, lambda draw: draw.mean(axis=0), min_block=24, samples=2, seed=5)[1] == 24


def test_block_counts_draw_as_many_blocks_as_there_are_each_equally_often():
    count_BW = block_counts(8, samples=4000, seed=2)
    np.testing.assert_array_equal(count_BW.sum(axis=1), 8.0)
    np.testing.assert_allclose(count_BW.mean(axis=0), 1.0, atol=0.06)
    assert block_counts(0, samples=3, seed=2).shape == (3, 0)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_an_interval_holds_its_share_of_the_draws(confidence: float):
    drawn = np.random.default_rng(0).standard_normal(2000)
    low, high = percentile_interval(drawn, confidence)
    assert ((low <= drawn) & (drawn <= high)).mean() == pytest.approx(confidence, abs=1e-3)
