"""What a person orders of the walk-forward: a retrain on a day, or an earlier model from a day on.

    walk_forward/events.json   every override, in the order in which they were recorded

Each is dated; every walk over that day replays it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from crossattn_core.errors import HistoryError, HomeError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.storage import locked, write_json
from crossattn_core.walk_forward.state import State
from crossattn_core.walk_forward.store import linked_days

__all__ = [
    "Override",
    "force_retrain",
    "next_day",
    "read_overrides",
    "record_override",
    "roll_back",
    "with_rollbacks",
    "withdraw_override",
]


@dataclass(frozen=True)
class Override:
    """Something that a person ordered, effective from a day on."""

    day: date
    kind: Literal["forced", "rollback"]
    note: str
    family: str = ""
    """'rollback': the family that goes back; empty for all."""
    model_id: str = ""
    """'rollback': the model to serve; empty for the one before the model in force."""


def read_overrides(home: Home) -> list[Override]:
    """All overrides, in the order in which they were recorded.

    Raises:
        HomeError: their file is damaged.
    """
    path = _path(home)
    try:
        rows = json.loads(path.read_bytes()) if path.exists() else []
        if not isinstance(rows, list):
            raise TypeError(f"it holds a {type(rows).__name__}")
        return [Override(**(row | {"day": date.fromisoformat(row["day"])})) for row in rows]
    except (ValueError, KeyError, TypeError, IsADirectoryError) as error:
        raise HomeError(f"{path}: damaged ({error!r}); restore it, overrides must not be forgotten") from error


def record_override(home: Home, override: Override) -> Override:
    """Append an override (the same one twice counts once) and return it."""
    with _changing(home) as overrides:
        if override not in overrides:
            _write(home, [*overrides, override])
    return override


def withdraw_override(home: Home, experiment: Experiment, number: int, *, rewrite: bool = False) -> Override:
    """Take the ``number``-th recorded override (from 1) back and return it.

    Raises:
        HistoryError: there is no such override; or its day was stepped already and ``rewrite`` is off.
    """
    with _changing(home) as overrides:
        if not 1 <= number <= len(overrides):
            there = f"there are {len(overrides)}" if overrides else "none is recorded"
            raise HistoryError(f"no override {number}: {there}; 'crossattn overrides list' shows their numbers")
        withdrawn, free = overrides[number - 1], next_day(home, experiment)
        if withdrawn.day < free and not rewrite:
            raise HistoryError(
                f"{withdrawn.day} was stepped with this override: without it {(free - withdrawn.day).days} days are stepped "
                "again; --rewrite allows it"
            )
        _write(home, [row for row in overrides if row is not withdrawn])
    return withdrawn


def next_day(home: Home, experiment: Experiment) -> date:
    """The first day that has not been stepped: the earliest day at which an override changes nothing that happened."""
    records = linked_days(home)
    return date.fromisoformat(records[-1]["day"]) + timedelta(days=1) if records else experiment.period.start


def force_retrain(home: Home, experiment: Experiment, note: str, *, day: date | None = None, rewrite: bool = False) -> Override:
    """Record a retrain of every family at ``day`` 00:00 (default: the first day not stepped yet).

    Args:
        note: why; the plan shows it.
        rewrite: allow a day that was stepped already; that day and all after it are stepped again.

    Raises:
        HistoryError: the day was stepped already and ``rewrite`` is off, or lies outside the period.
    """
    return record_override(home, Override(_dated(home, experiment, day, rewrite), "forced", note))


def roll_back(
    home: Home,
    experiment: Experiment,
    note: str,
    *,
    family: str = "",
    model_id: str = "",
    day: date | None = None,
    rewrite: bool = False,
) -> Override:
    """Record that an earlier healthy model is in force from ``day`` on, until the next retrain.

    Args:
        family: which family goes back; empty for all.
        model_id: the model to serve; empty for the one before the model in force. It needs ``family``.

    Raises:
        HistoryError: as ``force_retrain``, or no such family, or the model never was a healthy one of that family.
    """
    families = experiment.retrain.families
    if family and family not in families:
        raise HistoryError(f"no family {family!r} is trained here; choose from {', '.join(families)}")
    if model_id and not family:
        raise HistoryError(f"model {model_id}: name its family too, one of {', '.join(families)}")
    effective = _dated(home, experiment, day, rewrite)
    before = [record for record in linked_days(home) if record["day"] < effective.isoformat()]
    state = State.from_json(before[-1]["state"]) if before else State()
    for name in (family,) if family else families:
        if state.earlier_model(name, model_id):
            continue
        if model_id:
            known = ", ".join(state.history.get(name, ())) or "none"
            raise HistoryError(f"{name}: {model_id} is none of its healthy models before {effective} ({known})")
        raise HistoryError(
            f"{name}: no healthy model before {state.in_force.get(name, '') or 'the first'} to go back to on {effective}"
        )
    return record_override(home, Override(effective, "rollback", note, family, model_id))


def with_rollbacks(state: State, overrides: Iterable[Override], families: tuple[str, ...]) -> tuple[State, str]:
    """The state after a day's rollbacks, and what happened in words; a family without such a model stays as it is."""
    reasons = []
    for override in overrides:
        if override.kind != "rollback":
            continue
        changes = []
        for family in (override.family,) if override.family else families:
            serving, target = state.in_force.get(family, ""), state.earlier_model(family, override.model_id)
            if target and target != serving:
                state = state.rolled_back(family, target)
                changes.append(f"{family}: {serving} -> {target}")
            elif not override.model_id or override.family:
                missing = override.model_id or "before it"
                changes.append(f"{family}: stays at {serving or 'none'}, no healthy model {missing} is remembered")
        reasons.append(f"{override.note or 'rollback'} ({', '.join(changes) or 'no family has that model'})")
    return state, "; ".join(reasons)


@contextmanager
def _changing(home: Home) -> Iterator[list[Override]]:
    """All overrides, which no other process changes until the block ends."""
    with locked(_path(home).with_suffix(".lock")):
        yield read_overrides(home)


def _write(home: Home, overrides: Iterable[Override]) -> None:
    write_json(_path(home), [asdict(row) | {"day": row.day.isoformat()} for row in overrides])


def _path(home: Home) -> Path:
    return home.walk_forward / "events.json"


def _dated(home: Home, experiment: Experiment, day: date | None, rewrite: bool) -> date:
    free, period = next_day(home, experiment), experiment.period
    if day is None:
        return free
    if day < period.start or (period.end is not None and day > period.end):
        raise HistoryError(f"{day} lies outside the period {period.start} .. {period.end or 'open'}; choose a day in it")
    if day < free and not rewrite:
        raise HistoryError(
            f"{day} was stepped already: an override there would rewrite {(free - day).days} days; date it {free} or later, "
            "or allow it with --rewrite"
        )
    return day
