import numpy as np
import pytest

from crossattn_core.backtest.overfitting import (
    deflated_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    probability_of_overfitting,
    superior_ability,
)
from crossattn_core.errors import BacktestError


def test_published_deflated_sharpe_is_reproduced():
    daily, trials = 2.5 / np.sqrt(250), {"variance_of_trials": 0.5 / 250, "skew": -3.0, "kurtosis": 10.0}
    assert expected_best_sharpe(100, 0.5 / 250) == pytest.approx(0.113172, abs=5e-7)
    assert deflated_sharpe(daily, 1250, trials=100, **trials) == pytest.approx(0.900397, abs=5e-7)
    assert deflated_sharpe(daily, 1250, trials=46, **trials) == pytest.approx(0.950502, abs=5e-7)


def test_published_probabilistic_sharpe_is_reproduced():
    assert probabilistic_sharpe(0.458, 24) == pytest.approx(0.9817, abs=5e-5)
    assert probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164) == pytest.approx(0.9134, abs=5e-5)


def test_a_track_record_of_the_minimum_length_just_reaches_the_confidence():
    shape = {"skew": -1.0, "kurtosis": 6.0}
    needed = minimum_track_record(0.1, confidence=0.95, **shape)
    assert probabilistic_sharpe(0.1, needed, **shape) == pytest.approx(0.95)


def test_no_track_record_is_long_enough_for_a_loss():
    assert minimum_track_record(-0.1) == np.inf


def test_more_trials_deflate_more():
    values = [deflated_sharpe(0.1, 500, trials=trials, variance_of_trials=0.002) for trials in (1, 10, 100, 1000)]
    assert values == sorted(values, reverse=True)


def test_choosing_among_noise_is_overfitting_half_of_the_time():
    drawn = [
        probability_of_overfitting(np.random.default_rng(seed).standard_normal((1000, 20)), blocks=8).probability
        for seed in range(12)
    ]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.15)


def test_choosing_a_truly_better_trial_is_not_overfitting():
    return_TV = np.random.default_rng(0).standard_normal((1000, 20))
    return_TV[:, 7] += 0.5
    found = probability_of_overfitting(return_TV, blocks=8)
    assert found.probability == 0
    assert found.loss_probability == 0
    assert found.splits == 70


def test_overfitting_needs_two_trials():
    with pytest.raises(BacktestError, match="at least 2 trials"):
        probability_of_overfitting(np.zeros((100, 1)))


def test_superior_ability_finds_a_better_strategy_and_no_better_noise():
    draw = np.random.default_rng(3)
    noise = {f"s{number}": 0.01 * draw.standard_normal(800) for number in range(5)}
    assert superior_ability(noise, "s0", samples=200, seed=1) > 0.1
    assert (
        superior_ability(noise | {"good": noise["s0"] + 0.002 + 0.003 * draw.standard_normal(800)}, "s0", samples=200, seed=1)
        < 0.05
    )
