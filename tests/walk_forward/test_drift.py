"""Training weights, drift and rolling IC."""

import numpy as np
import pytest

from crossattn_core.experiment import LabelSettings, RetrainSettings
from crossattn_core.walk_forward.drift import (
    drift_edges,
    history_of_fit,
    realised_ic_by_family,
    row_weights,
    stability_index,
)
from tests.walk_forward.fakes import rolling_experiment, synthetic_panel

SETTINGS = RetrainSettings(history_days=30, recency_half_life_days=10.0, other_regime_weight=0.25)


def test_a_rows_weight_halves_with_each_half_life_and_ends_with_the_history() -> None:
    weight_T = row_weights(40 * 24, np.full(40, 1), 1, SETTINGS, bars_per_day=24)
    assert weight_T[-1] == 1.0
    assert weight_T[-1 - 240] == pytest.approx(0.5)
    assert (weight_T[: 10 * 24] == 0).all()
    assert (weight_T[10 * 24 :] > 0).all()


def test_days_of_another_regime_weigh_less_unless_the_regime_is_unknown() -> None:
    regime_D = np.repeat([0, 1], 5)
    plain_T = row_weights(240, regime_D, -1, SETTINGS, bars_per_day=24)
    weighed_T = row_weights(240, regime_D, 1, SETTINGS, bars_per_day=24)
    np.testing.assert_allclose(weighed_T[:120], 0.25 * plain_T[:120])
    np.testing.assert_array_equal(weighed_T[120:], plain_T[120:])


def test_a_fit_reads_the_rows_that_count_and_the_windows_behind_them() -> None:
    panel, experiment = synthetic_panel(60), rolling_experiment(history_days=20)
    weight_T = row_weights(60 * 24, np.full(60, -1), -1, experiment.retrain, bars_per_day=24)
    history, history_weight_T = history_of_fit(panel, weight_T, experiment)
    start = len(panel.as_of_T) - len(history.as_of_T)
    assert start % 168 == 0
    assert 40 * 24 - start >= experiment.model.lookback + 168
    assert start > 0
    np.testing.assert_array_equal(history_weight_T, weight_T[start:])
    np.testing.assert_array_equal(history.trade_price_TN, panel.trade_price_TN[start:])
    assert (weight_T[:start] == 0).all()


def test_a_feature_from_the_same_law_does_not_drift_and_a_shifted_one_does() -> None:
    panel = synthetic_panel(60)
    edge_FQ = drift_edges(panel, np.ones(50 * 24, dtype=np.float32))
    assert stability_index(panel, 50 * 24, edge_FQ) < 0.05
    assert stability_index(panel, 50 * 24, edge_FQ + 3 * np.array([[0.005], [1.0]])) > 1.0


def test_a_constant_feature_is_left_out_of_the_index() -> None:
    panel = synthetic_panel(40)
    panel.feature_TNF[:, :, 1] = 0.0
    edge_FQ = drift_edges(panel, np.ones(30 * 24, dtype=np.float32))
    assert np.isfinite(stability_index(panel, 30 * 24, edge_FQ))


def test_the_rolling_ic_knows_a_perfect_forecast_and_only_ended_labels() -> None:
    panel = synthetic_panel(30, closed_share=0.0)
    log_TN = np.log(panel.trade_price_TN)
    perfect_RN = np.full((10 * 24, 4), np.nan, dtype=np.float32)
    perfect_RN[:-2] = log_TN[20 * 24 + 2 :] - log_TN[20 * 24 + 1 : -1]
    ic = realised_ic_by_family(panel, 20 * 24, {"seer": perfect_RN, "fool": -perfect_RN}, LabelSettings())
    assert ic["seer"] == pytest.approx(1.0, abs=1e-6)
    assert ic["fool"] == pytest.approx(-1.0, abs=1e-6)
