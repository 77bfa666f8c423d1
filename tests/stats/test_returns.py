import numpy as np
import pytest

from crossattn_core.stats.returns import log_price_ratios, log_returns


@pytest.mark.parametrize("of", [log_returns, log_price_ratios])
def test_returns_are_those_of_a_plain_loop_and_missing_where_a_price_is(of):
    price_TN = np.exp(np.random.default_rng(0).standard_normal((50, 3)))
    price_TN[7, 1] = price_TN[:4, 2] = np.nan
    expected = np.full(price_TN.shape, np.nan)
    for t in range(1, 50):
        expected[t] = np.log(price_TN[t] / price_TN[t - 1])
    np.testing.assert_allclose(of(price_TN), expected, atol=1e-12)


def test_a_single_series_is_served_too():
    np.testing.assert_allclose(log_returns(np.array([1.0, np.e, 1.0])), [np.nan, 1.0, -1.0])
