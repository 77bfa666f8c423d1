"""Hashes of what a day was made from: they change exactly when something that decides the day does."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pytest

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import ROW_ARRAYS
from crossattn_core.walk_forward.fingerprint import day_inputs, panel_chain, settings_hash
from crossattn_core.walk_forward.overrides import Override
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


@pytest.mark.parametrize("name", ROW_ARRAYS)
def test_every_array_of_the_panel_counts(name: str) -> None:
    panel = synthetic_panel(3)
    panel = dataclasses.replace(panel, dividend_TN=np.full(panel.mark_price_TN.shape, np.nan))
    changed = panel.row_arrays[name].copy()
    changed[30] = panel.as_of_T[0] if name == "as_of_T" else 1 - np.nan_to_num(changed[30])
    before, after = panel_chain(panel), panel_chain(dataclasses.replace(panel, **{name: changed}))
    assert [before[day] == after[day] for day in before] == [True, False, False]


def test_a_panel_without_dividends_is_not_one_whose_dividends_are_missing() -> None:
    panel = synthetic_panel(3)
    without, missing = panel_chain(panel), panel_chain(dataclasses.replace(panel, dividend_TN=np.full((72, 4), np.nan)))
    assert not set(without.values()) & set(missing.values())


def _changed(section: str, **knobs: object) -> Experiment:
    experiment = rolling_experiment()
    return experiment.model_copy(update={section: getattr(experiment, section).model_copy(update=knobs)})


@pytest.mark.parametrize(
    "same",
    [
        _changed("report", title="other"),
        _changed("period", end=date(2026, 1, 1)),
        _changed("feed", kind="files", folder="/elsewhere"),
        _changed("baselines", strategies=("cash",), momentum_hours=5, volatility_hours=99),
        _changed("portfolio", gross=0.5),
        rolling_experiment().model_copy(update={"name": "another"}),
    ],
    ids=["title", "end of the period", "feed", "baseline strategies", "portfolio", "name"],
)
def test_what_the_walk_forward_does_not_read_changes_no_hash(same: Experiment) -> None:
    assert settings_hash(same) == settings_hash(rolling_experiment())


@pytest.mark.parametrize(
    ("section", "knob", "value"),
    [
        ("features", "max_age_hours", 7),
        ("labels", "execution_lag", 2),
        ("model", "width", 16),
        ("training", "epochs", 9),
        ("regimes", "confirm_days", 3),
        ("retrain", "families", ("ridge_var", "attention")),
        ("baselines", "ridge_penalty", 7.0),
    ],
)
def test_a_knob_that_the_walk_forward_reads_changes_the_hash(section: str, knob: str, value: object) -> None:
    assert settings_hash(_changed(section, **{knob: value})) != settings_hash(rolling_experiment())


def test_an_assets_place_in_the_hierarchy_changes_the_hash() -> None:
    experiment = rolling_experiment()
    first, *rest = experiment.assets
    moved = experiment.model_copy(update={"assets": (first.model_copy(update={"sector": "other"}), *rest)})
    assert settings_hash(moved) != settings_hash(experiment)


def test_code_counts_where_it_is_given_and_the_version_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = rolling_experiment()
    before = settings_hash(experiment)
    assert settings_hash(experiment, "a") != settings_hash(experiment, "b") != before
    monkeypatch.setattr("crossattn_core.__version__", "99")
    assert settings_hash(experiment) == before


def test_a_days_own_rows_change_its_forecasts_and_not_its_models() -> None:
    chain = panel_chain(synthetic_panel(3))
    day = FIRST_DAY + timedelta(days=1)
    one, other = (day_inputs(day, chain | {day: rows}, "settings", "plan", []) for rows in ("a", "b"))
    assert one.models == other.models
    assert one.forecasts != other.forecasts
    ordered = day_inputs(day, chain, "settings", "plan", [Override(day, "forced", "new costs")])
    assert len({one.models, ordered.models, day_inputs(day, chain, "settings", "other plan", []).models}) == 3
