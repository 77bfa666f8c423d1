import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.limits import Group, project

weights = arrays(np.float64, st.integers(1, 8), elements=st.floats(-3, 3).map(lambda value: round(value, 6)))


@given(weights, st.floats(0.05, 1.0), st.floats(0.05, 3.0))
def test_projected_weights_obey_caps_and_gross_and_keep_signs(weight_N, cap, gross):
    found_N = project(weight_N, np.full(len(weight_N), cap), gross)
    assert np.abs(found_N).max() <= cap + 1e-12
    assert np.abs(found_N).sum() <= gross + 1e-9
    assert (found_N * weight_N >= 0).all()


@given(weights)
def test_weights_inside_the_limits_are_left_alone(weight_N):
    np.testing.assert_array_equal(project(weight_N, np.full(len(weight_N), 4.0), 100.0), weight_N)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_weights_inside_the_limits_are_nearer(seed):
    draw = np.random.default_rng(seed)
    weight_N, cap_N, gross = draw.normal(0, 0.5, 5), draw.uniform(0.1, 0.6, 5), 0.8
    limits = [{"type": "ineq", "fun": lambda w: gross - np.abs(w).sum()}]
    sides = [(0, cap) if weight > 0 else (-cap, 0) for weight, cap in zip(weight_N, cap_N, strict=True)]
    best = minimize(lambda w: ((w - weight_N) ** 2).sum(), np.zeros(5), bounds=sides, constraints=limits, options={"ftol": 1e-14})
    np.testing.assert_allclose(project(weight_N, cap_N, gross), best.x, atol=1e-5)


def members(*places, assets=6):
    return np.isin(np.arange(assets), places)


NESTED = [Group("venue", members(0, 1, 2, 3), 0.7), Group("left", members(0, 1), 0.3), Group("right", members(2, 3), 0.5)]


@given(arrays(np.float64, 6, elements=st.floats(-3, 3).map(lambda value: round(value, 6))), st.floats(0.1, 2.0))
def test_every_group_cap_holds(weight_N, gross):
    found_N = project(weight_N, np.full(6, 0.4), gross, NESTED)
    assert np.abs(found_N).sum() <= gross + 1e-9
    for group in NESTED:
        assert np.abs(found_N[group.members_N]).sum() <= group.cap + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_no_other_weights_inside_the_group_caps_are_nearer(seed):
    draw = np.random.default_rng(seed)
    weight_N, cap_N, gross = draw.normal(0, 0.5, 6), np.full(6, 0.4), 0.9
    limits = [{"type": "ineq", "fun": lambda w: gross - np.abs(w).sum()}]
    limits += [{"type": "ineq", "fun": lambda w, g=group: g.cap - np.abs(w[g.members_N]).sum()} for group in NESTED]
    sides = [(0, 0.4) if weight > 0 else (-0.4, 0) for weight in weight_N]
    best = minimize(
        lambda w: ((w - weight_N) ** 2).sum(),
        np.zeros(6),
        bounds=sides,
        constraints=limits,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    found_N = project(weight_N, cap_N, gross, NESTED)
    assert ((found_N - weight_N) ** 2).sum() <= best.fun + 1e-8


def test_groups_that_overlap_are_refused():
    with pytest.raises(BacktestError, match="share 1 assets"):
        project(np.ones(6), np.ones(6), 1.0, [Group("a", members(0, 1), 0.5), Group("b", members(1, 2), 0.5)])
