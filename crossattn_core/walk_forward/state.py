"""The state that one day hands to the next, and what is known of a day when it starts.

Axes: none; arrays live in memory.py.
"""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from crossattn_core.experiment import RetrainSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.daily import Regimes
from crossattn_core.regimes.windows import InForce
from crossattn_core.walk_forward.memory import RollingMemory
from crossattn_core.walk_forward.plan import Decision, Known, decide
from crossattn_core.walk_forward.store import Event

__all__ = ["DayStart", "canonical", "first_state", "look", "plain", "roll_back_state"]


@dataclass(frozen=True)
class DayStart:
    """What is known at a day's 00:00, and what the plan says to it."""

    decision: Decision
    in_force: InForce
    regimes: Regimes
    drift: float
    ic_gap: float


def look(
    memory: RollingMemory, day: date, known: Panel, state: dict[str, Any], events: list[Event], settings: RetrainSettings
) -> DayStart:
    """Ask the plan at ``day`` 00:00: what the walk does on that day, and what monitoring says of it beforehand.

    Args:
        known: the panel up to ``day`` 00:00.
        state: as the day before left it.
        events: the day's own.
    """
    in_force, regimes = memory.regime(day)
    drift, ic_gap = memory.signals(day, known, state)
    facts = _known(day, (day - memory.first_day).days, state, in_force, drift, ic_gap, events)
    return DayStart(decide(facts, settings), in_force, regimes, drift, ic_gap)


def first_state() -> dict[str, Any]:
    return {
        "attempts": 0,
        "last_attempt": None,
        "regime_at_attempt": -1,
        "reference_day": None,
        "drift_at_attempt": None,
        "in_force": {},
        "history": {},
        "facts": {},
    }


def _known(
    day: date, history_days: int, state: dict[str, Any], in_force: InForce, drift: float, ic_gap: float, events: list[Event]
) -> Known:
    notes = {kind: "; ".join(event.note or kind for event in events if event.kind == kind) for kind in ("forced", "rollback")}
    return Known(
        day=day,
        history_days=history_days,
        last_attempt=date.fromisoformat(state["last_attempt"]) if state["last_attempt"] else None,
        has_model=bool(state["in_force"]),
        regime=in_force.regime,
        regime_at_attempt=state["regime_at_attempt"],
        drift=drift,
        drift_at_attempt=float("nan") if state["drift_at_attempt"] is None else state["drift_at_attempt"],
        ic_gap=ic_gap,
        forced=notes["forced"],
        rollback=notes["rollback"],
    )


def roll_back_state(state: dict[str, Any], families: tuple[str, ...], event: Event) -> str:
    """Put an earlier healthy model in force; returns what happened, in words."""
    said = []
    for family in families if not event.family else (event.family,):
        history = state["history"].get(family, [])
        serving = state["in_force"].get(family, "")
        earlier = history[: history.index(serving)] if serving in history else history
        target = event.model_id or (earlier[-1] if earlier else "")
        if target in history and target != serving:
            state["in_force"][family] = target
            said.append(f"{family}: {serving} -> {target}")
        elif not event.model_id or event.family:
            said.append(f"{family}: stays at {serving or 'none'}, no healthy model {target or 'before it'} is remembered")
    return f"{event.note or 'rollback'} ({', '.join(said) or 'no family has that model'})"


def plain(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
