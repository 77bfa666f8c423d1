"""The state that one day of the walk-forward hands to the next: frozen, each change a new state.

    state = state.with_model("attention", model_id, facts)      a healthy fit is in force from now on
    state = state.rolled_back("attention", earlier_id)          an earlier healthy model is
    state = state.retrained(day, regime, drift)                 the day's fits are over

Axes: none; arrays live in past.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

__all__ = ["ModelFacts", "State", "finite"]

_MAX_HISTORY = 12
"""Healthy models of a family that a rollback without a name can reach back through."""


@dataclass(frozen=True)
class ModelFacts:
    """What a model was fitted on, as the plan shows it; the defaults where no model is in force."""

    parent_id: str = ""
    train_start: str | None = None
    cut_off: str | None = None
    rows: int = 0
    validation_loss: float | None = None


@dataclass(frozen=True)
class State:
    """The models in force and what the next decision needs to know of the past ones."""

    attempts: int = 0
    """Retrains so far, healthy or not."""
    last_attempt: date | None = None
    """Day of the newest retrain or rollback."""
    regime_at_attempt: int = -1
    reference_day: date | None = None
    """Day of the newest retrain: its plan file holds the deciles of the training rows."""
    drift_at_attempt: float | None = None
    """Population-stability index on that day; none where nothing could be compared."""
    in_force: Mapping[str, str] = field(default_factory=dict)
    """Family -> model id."""
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Family -> its newest healthy models, oldest first."""
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
    """Model id -> what it was fitted on, of every model in force or in the history."""

    def with_model(self, family: str, model_id: str, facts: ModelFacts) -> "State":
        """A healthy model of ``family`` is in force."""
        history = {**self.history, family: (*self.history.get(family, ()), model_id)[-_MAX_HISTORY:]}
        in_force = {**self.in_force, family: model_id}
        kept = {model for models in history.values() for model in models} | set(in_force.values())
        known = {**self.facts, model_id: facts}
        return replace(self, in_force=in_force, history=history, facts={model: known[model] for model in known if model in kept})

    def earlier_model(self, family: str, model_id: str = "") -> str:
        """The healthy model that a rollback of ``family`` goes to: ``model_id``, or the one before the model in force.

        Empty where no such model is in the history.
        """
        history, serving = self.history.get(family, ()), self.in_force.get(family, "")
        if model_id:
            return model_id if model_id in history else ""
        earlier = history[: history.index(serving)] if serving in history else history
        return earlier[-1] if earlier else ""

    def rolled_back(self, family: str, model_id: str) -> "State":
        """The earlier model ``model_id`` of ``family`` is in force."""
        return replace(self, in_force={**self.in_force, family: model_id})

    def retrained(self, day: date, regime: int, drift: float) -> "State":
        """Every family was fitted on ``day``, in ``regime``, with this population-stability index (NaN: not comparable)."""
        attempted = self.attempted(day, regime)
        return replace(attempted, attempts=self.attempts + 1, reference_day=day, drift_at_attempt=finite(drift))

    def attempted(self, day: date, regime: int) -> "State":
        """The cadence and the cool-down count from ``day``, regime changes from ``regime``."""
        return replace(self, last_attempt=day, regime_at_attempt=regime)

    def to_json(self) -> dict[str, Any]:
        """The state as the plan file holds it."""
        return asdict(self) | {
            "last_attempt": self.last_attempt and self.last_attempt.isoformat(),
            "reference_day": self.reference_day and self.reference_day.isoformat(),
            "history": {family: list(models) for family, models in self.history.items()},
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "State":
        """The state that ``to_json`` wrote."""
        return cls(
            **stored
            | {
                "last_attempt": stored["last_attempt"] and date.fromisoformat(stored["last_attempt"]),
                "reference_day": stored["reference_day"] and date.fromisoformat(stored["reference_day"]),
                "history": {family: tuple(models) for family, models in stored["history"].items()},
                "facts": {model: ModelFacts(**facts) for model, facts in stored["facts"].items()},
            }
        )


def finite(value: float | None) -> float | None:
    """The number as JSON can hold it: none in place of NaN and infinity."""
    return float(value) if value is not None and math.isfinite(value) else None
