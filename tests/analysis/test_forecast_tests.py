"""Diebold-Mariano and decay by horizon on forecasts whose worth is known."""

import numpy as np
import pytest

from crossattn_core.analysis.forecast_tests import NO_FORECAST, accuracy_tests, decay_by_horizon

DRAW = np.random.default_rng(7)
OUTCOME = 0.01 * DRAW.standard_normal((2000, 5)) * np.array([1, 2, 1, 5, 1])
GOOD = 0.3 * OUTCOME + 0.1 * np.std(OUTCOME, axis=0) * DRAW.standard_normal(OUTCOME.shape)
NOISE = 0.5 * np.std(OUTCOME, axis=0) * DRAW.standard_normal(OUTCOME.shape)


def row(frame, first, second):
    return frame[(frame["first"] == first) & (frame["second"] == second)].iloc[0]


def test_a_good_forecast_beats_none_and_noise_is_worse_than_none():
    found = accuracy_tests({"good": GOOD, "noise": NOISE}, OUTCOME, 1)
    assert row(found, "good", NO_FORECAST)["statistic"] < -5
    assert row(found, "noise", NO_FORECAST)["statistic"] > 5
    assert row(found, "good", "noise")["p_value"] < 1e-6


def test_the_unit_of_an_asset_does_not_matter():
    unit_N = np.array([1.0, 100.0, 1e-3, 1.0, 7.0])
    plain, scaled = (accuracy_tests({"good": GOOD * unit}, OUTCOME * unit, 1) for unit in (1.0, unit_N))
    assert row(scaled, "good", NO_FORECAST)["statistic"] == pytest.approx(row(plain, "good", NO_FORECAST)["statistic"])


def test_only_rows_that_both_forecast_are_compared():
    half = np.where(np.arange(2000)[:, None] < 500, np.nan, GOOD)
    assert row(accuracy_tests({"half": half, "noise": NOISE}, OUTCOME, 1), "half", "noise")["rows"] == 1500


def test_the_ic_of_a_forecast_of_the_next_hour_decays_with_the_horizon():
    hourly = DRAW.standard_normal((4000, 3))
    forecast = hourly + DRAW.standard_normal(hourly.shape)
    hours = (1, 4, 16)
    outcome = np.full((*hourly.shape, len(hours)), np.nan)
    for h, horizon in enumerate(hours):
        total = np.cumsum(hourly, axis=0)
        outcome[: -horizon + 1 or None, :, h] = (
            hourly[: -horizon + 1 or None] + total[horizon - 1 :] - total[: -horizon + 1 or None]
        )
    found = decay_by_horizon({"own": forecast}, outcome, hours).set_index("bars")
    assert found["ic"].tolist() == pytest.approx([np.sqrt(0.5 / h) for h in hours], abs=0.05)
    assert ((found["low"] < found["ic"]) & (found["ic"] < found["high"])).all()


def test_errors_of_overlapping_horizons_hold_zero_as_often_as_they_say():
    held = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        hourly = draw.standard_normal((1500, 2))
        slow = np.cumsum(draw.standard_normal((1500, 2)), axis=0)
        slow[24:] -= slow[:-24].copy()
        outcome = np.full((1500, 2, 1), np.nan)
        total = np.cumsum(hourly, axis=0)
        outcome[:-24, :, 0] = total[24:] - total[:-24]
        line = decay_by_horizon({"nothing": slow}, outcome, (24,), 0.9).iloc[0]
        held += line["low"] <= 0 <= line["high"]
    assert held >= 78


def test_too_few_rows_give_no_ic():
    assert np.isnan(decay_by_horizon({"own": GOOD[:50]}, OUTCOME[:50, :, None], (1,))["ic"].iloc[0])
