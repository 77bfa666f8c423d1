"""Evidence counts on the day on which it was realised."""

import numpy as np
import pandas as pd

from crossattn_core.panel.labels import compute_labels
from crossattn_core.selection.champion import daily_ic_sums, net_returns
from crossattn_core.stats.ic import mean_ic_of_sums
from tests.walk_forward.fakes import rolling_experiment, synthetic_panel


def test_the_sums_of_all_days_give_the_correlation_per_asset() -> None:
    panel, labels = synthetic_panel(30), compute_labels(synthetic_panel(30), rolling_experiment().labels)
    forecast_TN = np.random.default_rng(0).standard_normal(panel.mark_price_TN.shape)
    outcome_TN, end_TN = labels.value_TNH[:, :, 1], labels.end_TNH[:, :, 1]
    day_D = np.arange("2025-01-01", "2025-01-31", dtype="datetime64[D]")
    sums_DNK = daily_ic_sums(forecast_TN, outcome_TN, end_TN, panel.as_of_T, day_D)
    pairs = [pd.Series(forecast_TN[:, n]).corr(pd.Series(outcome_TN[:, n])) for n in range(4)]
    np.testing.assert_allclose(mean_ic_of_sums(sums_DNK.sum(axis=0)), np.mean(pairs), atol=1e-12)


def test_a_pair_counts_on_the_day_on_which_its_label_ends() -> None:
    panel, labels = synthetic_panel(10), compute_labels(synthetic_panel(10), rolling_experiment().labels)
    forecast_TN = np.full(panel.mark_price_TN.shape, np.nan)
    forecast_TN[2 * 24 + 5, 1] = 1.0  # 2025-01-03 06:00, a day ahead from 07:00: known on 2025-01-04
    day_D = np.arange("2025-01-01", "2025-01-11", dtype="datetime64[D]")
    sums_DNK = daily_ic_sums(forecast_TN, labels.value_TNH[:, :, 1], labels.end_TNH[:, :, 1], panel.as_of_T, day_D)
    assert np.argwhere(sums_DNK[:, :, 0]).tolist() == [[3, 1]]


def test_days_without_a_healthy_model_have_no_return_of_their_family() -> None:
    class Simulated:
        capital = 100.0
        as_of_T = pd.date_range("2025-01-01 01:00", periods=72, freq="h", unit="us").to_numpy()
        equity_T = 100.0 * 1.001 ** np.arange(1, 73)

    days = pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03"]).as_unit("us")
    plan = pd.DataFrame({"day": days, "family": "attention", "model_id": ["", "a", "a"]})
    returns = net_returns({"attention": Simulated(), "equal_weight": Simulated()}, plan)  # type: ignore[dict-item]
    assert returns["attention"].isna().tolist() == [True, False, False]
    np.testing.assert_allclose(returns["equal_weight"], 1.001**24 - 1)
