"""The hidden Markov model: fitted on the past, filtered forward."""

import numpy as np
import pytest

from crossattn_core.regimes.detectors.hidden_markov import GaussianChain, filter_forward, fit_chain

CHAIN = GaussianChain(
    start_K=np.array([0.5, 0.5]),
    move_KK=np.array([[0.97, 0.03], [0.05, 0.95]]),
    mean_KO=np.array([[0.0, -0.3], [0.0, 0.5]]),
    deviation_KO=np.array([[1.0, 0.3], [1.5, 0.3]]),
)


def _sample(days: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    state_D = np.zeros(days, dtype=int)
    for d in range(1, days):
        state_D[d] = generator.choice(2, p=CHAIN.move_KK[state_D[d - 1]])
    return state_D, CHAIN.mean_KO[state_D] + CHAIN.deviation_KO[state_D] * generator.standard_normal((days, 2))


def test_the_fit_recovers_the_chain_that_made_the_days() -> None:
    _, seen_DO = _sample(1500)
    fitted = fit_chain(seen_DO, 2)
    np.testing.assert_allclose(fitted.mean_KO[:, 1], CHAIN.mean_KO[:, 1], atol=0.08)
    np.testing.assert_allclose(fitted.move_KK, CHAIN.move_KK, atol=0.03)
    np.testing.assert_allclose(fitted.deviation_KO, CHAIN.deviation_KO, atol=0.12)


def test_the_filter_knows_the_state_nineteen_days_in_twenty() -> None:
    state_D, seen_DO = _sample(1500)
    named_D = filter_forward(fit_chain(seen_DO, 2), seen_DO).argmax(axis=1)
    assert (named_D == state_D).mean() > 0.93


def test_the_filter_agrees_with_bayes_rule_by_hand() -> None:
    seen_DO = np.array([[0.2, 0.4]])
    density_K = np.exp(-0.5 * ((seen_DO[0] - CHAIN.mean_KO) / CHAIN.deviation_KO) ** 2).prod(axis=1) / CHAIN.deviation_KO.prod(
        axis=1
    )
    expected_K = density_K / density_K.sum()
    np.testing.assert_allclose(filter_forward(CHAIN, seen_DO)[0], expected_K)


def test_states_are_ordered_by_volatility_and_rows_of_moves_sum_to_one() -> None:
    fitted = fit_chain(_sample(400, seed=3)[1][:, ::1], 3)
    assert (np.diff(fitted.mean_KO[:, 1]) > 0).all()
    np.testing.assert_allclose(fitted.move_KK.sum(axis=1), 1.0)


def test_a_day_without_observations_only_lets_the_state_drift() -> None:
    seen_DO = np.array([[0.0, 0.6], [np.nan, np.nan]])
    probability_DK = filter_forward(CHAIN, seen_DO)
    np.testing.assert_allclose(probability_DK[1], probability_DK[0] @ CHAIN.move_KK)


def test_refitting_from_the_chain_before_moves_little() -> None:
    _, seen_DO = _sample(1500)
    once = fit_chain(seen_DO, 2)
    again = fit_chain(seen_DO, 2, once)
    assert again.mean_KO == pytest.approx(once.mean_KO, abs=0.02)
