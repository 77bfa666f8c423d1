"""One pure function decides; its order and its cool-down are the contract."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossattn_core.experiment import RetrainSettings
from crossattn_core.walk_forward.plan import Known, decide

DAY = date(2025, 6, 30)
SETTINGS = RetrainSettings(minimum_days=90, every_days=28, cooldown_days=5, max_drift=0.5, degraded_gap=0.05)


def _known(**changes) -> Known:
    facts = {
        "day": DAY,
        "history_days": 200,
        "last_attempt": DAY - timedelta(days=10),
        "has_model": True,
        "regime": 1,
        "regime_at_attempt": 1,
    }
    return Known(**(facts | changes))


@pytest.mark.parametrize(
    ("changes", "action", "reason", "why"),
    [
        ({"history_days": 89}, "wait", "history", "89 of 90 days of history"),
        ({"history_days": 89, "forced": "now"}, "wait", "history", "89 of 90 days of history"),
        ({"last_attempt": None, "has_model": False}, "retrain", "first", "first model after 200 days of history"),
        ({}, "carry", "none", "10 days old, next by schedule in 18"),
        ({"last_attempt": DAY - timedelta(days=28)}, "retrain", "scheduled", "28 days since the last, every 28"),
        ({"regime": 2}, "retrain", "regime_change", "regime 1 -> 2 confirmed"),
        ({"regime": -1}, "carry", "none", "10 days old, next by schedule in 18"),
        ({"drift": 9.0}, "retrain", "drift", "stability index 9.000, 0.000 when fitted: grown by more than 0.5"),
        ({"drift": 0.9, "drift_at_attempt": 0.6}, "carry", "none", "10 days old, next by schedule in 18"),
        ({"ic_gap": 0.2}, "retrain", "degraded", "rolling IC 0.200 under the best other family's"),
        (
            {"regime": 2, "last_attempt": DAY - timedelta(days=4)},
            "carry",
            "none",
            "regime_change (regime 1 -> 2 confirmed) waits: 4 of 5 cool-down days",
        ),
        ({"forced": "now", "last_attempt": DAY - timedelta(days=1)}, "retrain", "forced", "now"),
        ({"rollback": "bad", "forced": "now"}, "carry", "rollback", "bad"),
        ({"has_model": False}, "wait", "none", "no healthy model yet; 10 days old, next by schedule in 18"),
    ],
)
def test_the_decision_follows_the_order_of_the_contract(changes, action, reason, why) -> None:
    decision = decide(_known(**changes), SETTINGS)
    assert (decision.action, decision.reason, decision.why) == (action, reason, why)


def test_a_trigger_in_the_cool_down_is_named_and_waits() -> None:
    decision = decide(_known(drift=0.9, last_attempt=DAY - timedelta(days=2)), SETTINGS)
    assert decision.why == (
        "drift (stability index 0.900, 0.000 when fitted: grown by more than 0.5) waits: 2 of 5 cool-down days"
    )


@given(
    st.integers(0, 400),
    st.one_of(st.none(), st.integers(1, 100)),
    st.booleans(),
    st.integers(-1, 2),
    st.floats(0, 2),
    st.floats(-1, 1),
)
def test_a_model_is_never_older_than_the_cadence_and_never_fitted_on_too_little(
    history, age, has_model, regime, drift, gap
) -> None:
    known = _known(
        history_days=history,
        last_attempt=None if age is None else DAY - timedelta(days=age),
        has_model=has_model,
        regime=regime,
        drift=drift,
        ic_gap=gap,
    )
    decision = decide(known, SETTINGS)
    assert (decision.action == "wait") >= (history < SETTINGS.minimum_days)
    if history >= SETTINGS.minimum_days and (age is None or age >= SETTINGS.every_days):
        assert decision.action == "retrain"
    if decision.action == "retrain" and age is not None:
        assert age >= SETTINGS.cooldown_days
