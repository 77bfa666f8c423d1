import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from crossattn_core.stats.multiple_testing import benjamini_hochberg


def test_q_values_equal_statsmodels_and_scipys():
    p_K = np.random.default_rng(0).random(200) ** 3
    p_K[10:20] = p_K[0]
    np.testing.assert_allclose(benjamini_hochberg(p_K), multipletests(p_K, method="fdr_bh")[1], rtol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p_K), stats.false_discovery_control(p_K), rtol=1e-12)


def test_no_hypothesis_has_no_q_value():
    assert benjamini_hochberg(np.zeros(0)).shape == (0,)


def test_q_values_keep_the_order_of_p_values_and_never_fall_below_them() -> None:
    p_K = np.random.default_rng(2).random(50)
    q_K = benjamini_hochberg(p_K)
    assert (q_K >= p_K - 1e-12).all()
    assert (np.diff(q_K[np.argsort(p_K)]) >= 0).all()
