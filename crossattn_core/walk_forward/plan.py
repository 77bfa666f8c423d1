"""The retrain plan: one pure function of what is known at D 00:00.

History and live share it: a backfill calls it for each day of the past, a sensor for today, and both get the
same decision from the same facts.
"""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment, RetrainSettings

__all__ = ["Action", "Decision", "Known", "Reason", "check_period", "decide", "first_served_day"]

Action = Literal["retrain", "carry", "wait"]
Reason = Literal["history", "first", "forced", "scheduled", "regime_change", "drift", "degraded", "rollback", "none"]


@dataclass(frozen=True)
class Known:
    """What is known at D 00:00, before any row of D."""

    day: date
    history_days: int
    """Complete days of candles before D."""
    last_attempt: date | None = None
    """Day of the newest retrain, healthy or not; none before the first."""
    has_model: bool = False
    """Whether a healthy model is in force."""
    regime: int = -1
    """Regime in force at D 00:00; -1 while unknown."""
    regime_at_attempt: int = -1
    """Regime in force when the newest retrain was made."""
    drift: float = math.nan
    """Mean population-stability index of the newest features against the training rows."""
    drift_at_attempt: float = math.nan
    """The same index on the day of the newest retrain: what a new fit could not cure is no reason for another one."""
    ic_gap: float = math.nan
    """Rolling IC of the best other family minus that of the first family; NaN while too little is realised."""
    forced: str = ""
    """Why a retrain was ordered for this day; empty where none was."""
    rollback: str = ""
    """Why an earlier model was ordered from this day on; empty where none was."""


@dataclass(frozen=True)
class Decision:
    """What to do on a day, and why."""

    action: Action
    reason: Reason
    why: str
    """One sentence with the numbers that decided."""


def first_served_day(experiment: Experiment) -> date:
    """The first day that a model can serve: before it there is too little history."""
    return experiment.period.start + timedelta(days=experiment.retrain.minimum_days)


def check_period(experiment: Experiment) -> None:
    """Refuse a period that is over before a model can serve: there would be nothing to forecast, trade or report.

    Raises:
        HistoryError: names the first day that a model serves.
    """
    period, served = experiment.period, first_served_day(experiment)
    if period.end is not None and period.end < served:
        raise HistoryError(
            f"the period {period.start} .. {period.end} is over before the first model serves, on {served} (retrain.minimum_days "
            f"is {experiment.retrain.minimum_days}); extend the period to {served} or later, or lower retrain.minimum_days"
        )


def decide(known: Known, settings: RetrainSettings) -> Decision:
    """Retrain, carry or wait.

    Order: too little history, first, rollback, forced, scheduled, then (after the cool-down) regime change,
    drift and degradation. A rollback wins over a forced retrain of the same day.

    >>> decide(Known(date(2025, 6, 1), history_days=200), RetrainSettings()).reason
    'first'
    """
    if known.history_days < settings.minimum_days:
        return Decision("wait", "history", f"{known.history_days} of {settings.minimum_days} days of history")
    if known.rollback and known.has_model:
        return Decision("carry", "rollback", known.rollback)
    if known.forced:
        return Decision("retrain", "forced", known.forced)
    if known.last_attempt is None:
        return Decision("retrain", "first", f"first model after {known.history_days} days of history")
    age_days = (known.day - known.last_attempt).days
    if age_days >= settings.every_days:
        return Decision("retrain", "scheduled", f"{age_days} days since the last, every {settings.every_days}")
    trigger = _trigger(known, settings)
    if trigger is None:
        return _carry(known, f"{age_days} days old, next by schedule in {settings.every_days - age_days}")
    if age_days < settings.cooldown_days:
        return _carry(known, f"{trigger.reason} ({trigger.why}) waits: {age_days} of {settings.cooldown_days} cool-down days")
    return trigger


def _trigger(known: Known, settings: RetrainSettings) -> Decision | None:
    if settings.on_regime_change and known.regime >= 0 and known.regime != known.regime_at_attempt:
        return Decision("retrain", "regime_change", f"regime {known.regime_at_attempt} -> {known.regime} confirmed")
    at_fit = 0.0 if math.isnan(known.drift_at_attempt) else known.drift_at_attempt
    if settings.on_drift and known.drift - at_fit > settings.max_drift:
        why = f"stability index {known.drift:.3f}, {at_fit:.3f} when fitted: grown by more than {settings.max_drift:g}"
        return Decision("retrain", "drift", why)
    if settings.on_degraded and known.ic_gap > settings.degraded_gap:
        return Decision("retrain", "degraded", f"rolling IC {known.ic_gap:.3f} under the best other family's")
    return None


def _carry(known: Known, why: str) -> Decision:
    if known.has_model:
        return Decision("carry", "none", why)
    return Decision("wait", "none", f"no healthy model yet; {why}")
