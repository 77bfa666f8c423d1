"""The state changes by making a new one, and survives its file."""

import dataclasses
import json
import math
from datetime import date

import pytest

from crossattn_core.walk_forward.overrides import Override, with_rollbacks
from crossattn_core.walk_forward.state import ModelFacts, State

DAY = date(2025, 3, 1)


def _with_models(*models: str, family: str = "attention") -> State:
    state = State()
    for model in models:
        state = state.with_model(family, model, ModelFacts(parent_id="p", cut_off="2025-03-01", rows=7, validation_loss=0.5))
    return state


def test_a_change_leaves_the_state_before_as_it_was() -> None:
    first = _with_models("m1")
    kept = first.to_json()
    first.with_model("attention", "m2", ModelFacts())
    first.rolled_back("attention", "m0")
    first.retrained(DAY, 2, 0.3)
    assert first.to_json() == kept
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.attempts = 3  # type: ignore[misc]


@pytest.mark.parametrize("state", [State(), _with_models("m1", "m2").retrained(DAY, 1, 0.25).rolled_back("attention", "m1")])
def test_the_state_that_is_read_is_the_one_that_was_written(state: State) -> None:
    assert State.from_json(json.loads(json.dumps(state.to_json(), sort_keys=True))) == state


def test_the_state_of_an_earlier_layout_is_read() -> None:
    stored = {
        "attempts": 2, "last_attempt": "2025-03-01", "regime_at_attempt": 1, "reference_day": "2025-03-01",
        "drift_at_attempt": None, "in_force": {"attention": "m2"}, "history": {"attention": ["m1", "m2"]},
        "facts": {"m2": {"parent_id": "m1", "train_start": "a", "cut_off": "b", "rows": 3, "validation_loss": None}},
    }  # fmt: skip
    state = State.from_json(stored)
    assert (state.attempts, state.last_attempt, state.in_force, state.earlier_model("attention")) == (
        2, DAY, {"attention": "m2"}, "m1",
    )  # fmt: skip
    assert state.to_json() == stored


def test_a_retrain_counts_and_a_rollback_only_resets_the_clock() -> None:
    retrained = State().retrained(DAY, 1, math.nan)
    assert (retrained.attempts, retrained.last_attempt, retrained.reference_day) == (1, DAY, DAY)
    assert (retrained.regime_at_attempt, retrained.drift_at_attempt) == (1, None)
    later = date(2025, 3, 9)
    attempted = retrained.attempted(later, 2)
    assert (attempted.attempts, attempted.last_attempt, attempted.reference_day) == (1, later, DAY)


def test_twelve_models_are_remembered_and_facts_of_those_alone() -> None:
    state = _with_models(*(f"m{n}" for n in range(20)))
    assert state.history["attention"] == tuple(f"m{n}" for n in range(8, 20))
    assert set(state.facts) == set(state.history["attention"])


def test_the_model_before_is_the_one_before_the_one_in_force() -> None:
    state = _with_models("m1", "m2", "m3")
    assert state.earlier_model("attention") == "m2"
    assert state.rolled_back("attention", "m2").earlier_model("attention") == "m1"
    assert state.earlier_model("attention", "m1") == "m1"
    assert state.earlier_model("attention", "strange") == state.earlier_model("ridge_var") == ""
    assert _with_models("m1").earlier_model("attention") == ""


def test_rollbacks_of_a_day_follow_each_other_and_say_what_they_changed() -> None:
    state = _with_models("m1", "m2", "m3")
    back = Override(DAY, "rollback", "bad week", family="attention")
    after, why = with_rollbacks(state, [back, Override(DAY, "forced", "x"), back], ("attention", "ridge_var"))
    assert after.in_force == {"attention": "m1"}
    assert why == "bad week (attention: m3 -> m2); bad week (attention: m2 -> m1)"
    same, why = with_rollbacks(State(), [Override(DAY, "rollback", "")], ("attention",))
    assert same == State()
    assert why == "rollback (attention: stays at none, no healthy model before it is remembered)"
