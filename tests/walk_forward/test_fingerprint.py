"""Hashes of what a day was made from, and the part of the past that a fit reads."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from crossattn_core.walk_forward.drift import row_weights
from crossattn_core.walk_forward.fingerprint import history_of_fit, panel_chain, settings_hash
from tests.walk_forward.fakes import FIRST_DAY, rolling_experiment, synthetic_panel


def test_panels_that_agree_up_to_a_day_have_equal_hashes_up_to_that_day() -> None:
    panel = synthetic_panel(10)
    price_TN = panel.trade_price_TN.copy()
    price_TN[5 * 24] += 1e-12
    before, after = panel_chain(panel), panel_chain(dataclasses.replace(panel, trade_price_TN=price_TN))
    assert [before[day] == after[day] for day in before] == [True] * 5 + [False] * 5


def test_a_longer_panel_keeps_the_hashes_and_an_unfinished_day_changes_when_it_ends() -> None:
    panel = synthetic_panel(10)
    whole, part = panel_chain(panel), panel_chain(panel.until(7 * 24 + 5))
    days = list(part)
    assert len(days) == 8
    assert [whole[day] == part[day] for day in days] == [True] * 7 + [False]


@pytest.mark.parametrize(
    "name", ["feature_TNF", "mark_price_TN", "is_fresh_TN", "age_hours_TN", "quote_volume_TN", "funding_rate_TN"]
)
def test_every_array_counts(name) -> None:
    panel = synthetic_panel(3)
    changed = getattr(panel, name).copy()
    changed[30] = 1 - np.nan_to_num(changed[30])
    last = FIRST_DAY + timedelta(days=2)
    assert panel_chain(panel)[last] != panel_chain(dataclasses.replace(panel, **{name: changed}))[last]


def test_only_knobs_that_decide_a_day_count() -> None:
    experiment = rolling_experiment()
    titled = experiment.model_copy(update={"report": experiment.report.model_copy(update={"title": "other"})})
    longer = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 9})})
    assert settings_hash(experiment) == settings_hash(titled)
    assert settings_hash(experiment) != settings_hash(longer)


def test_a_fit_reads_the_rows_that_count_and_the_windows_behind_them() -> None:
    panel, experiment = synthetic_panel(60), rolling_experiment(history_days=20)
    weight_T = row_weights(60 * 24, np.full(60, -1), -1, experiment.retrain)
    history, history_weight_T = history_of_fit(panel, weight_T, experiment)
    start = len(panel.as_of_T) - len(history.as_of_T)
    assert start % 168 == 0
    assert 40 * 24 - start >= experiment.model.lookback + 168
    assert start > 0
    np.testing.assert_array_equal(history_weight_T, weight_T[start:])
    np.testing.assert_array_equal(history.trade_price_TN, panel.trade_price_TN[start:])
    assert (weight_T[:start] == 0).all()
