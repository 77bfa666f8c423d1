import numpy as np
import pandas as pd
import pytest

from crossattn_core.stats.rank_correlation import rank_correlation


def test_it_is_pandas_spearman_over_known_pairs_ties_included():
    x, y = np.random.default_rng(0).standard_normal((2, 80)).round(1)
    x[::9] = np.nan
    assert rank_correlation(x, y) == pytest.approx(pd.Series(x).corr(pd.Series(y), method="spearman"))


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, np.nan, np.nan]])
def test_nothing_is_said_of_what_does_not_vary_or_of_two_pairs(y):
    assert np.isnan(rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array(y)))
