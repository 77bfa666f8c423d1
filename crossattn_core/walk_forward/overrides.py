"""What a person asks of the walk-forward: a retrain on a day, or an earlier model from a day on.

Each is a dated event in the home; every walk over that day replays it.
"""

from datetime import date, timedelta

from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.walk_forward.store import Event, linked_days, record_event

__all__ = ["force_retrain", "next_day", "roll_back"]


def next_day(home: Home, experiment: Experiment) -> date:
    """The first day that has not been stepped: the earliest day at which an event changes nothing that happened."""
    records = linked_days(home)
    return date.fromisoformat(records[-1]["day"]) + timedelta(days=1) if records else experiment.period.start


def force_retrain(home: Home, experiment: Experiment, note: str, *, day: date | None = None, rewrite: bool = False) -> Event:
    """Ask for a retrain of every family at ``day`` 00:00 (default: the first day not stepped yet).

    Args:
        note: why; it stands in the plan.
        rewrite: allow a day that was stepped already; that day and all after it are stepped again.

    Raises:
        HistoryError: the day was stepped already and ``rewrite`` is off, or lies before the period.
    """
    event = Event(_dated(home, experiment, day, rewrite), "forced", note)
    record_event(home, event)
    return event


def roll_back(
    home: Home,
    experiment: Experiment,
    note: str,
    *,
    family: str = "",
    model_id: str = "",
    day: date | None = None,
    rewrite: bool = False,
) -> Event:
    """Put an earlier healthy model in force from ``day`` on, until the next retrain.

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
    state = before[-1]["state"] if before else {"history": {}, "in_force": {}}
    for name in (family,) if family else families:
        history, serving = state["history"].get(name, []), state["in_force"].get(name, "")
        if model_id and model_id not in history:
            raise HistoryError(
                f"{name}: {model_id} is none of its healthy models before {effective} ({', '.join(history) or 'none'})"
            )
        if not model_id and (serving not in history or history.index(serving) == 0):
            raise HistoryError(f"{name}: no healthy model before {serving or 'the first'} to go back to on {effective}")
    event = Event(effective, "rollback", note, family, model_id)
    record_event(home, event)
    return event


def _dated(home: Home, experiment: Experiment, day: date | None, rewrite: bool) -> date:
    free = next_day(home, experiment)
    if day is None:
        return free
    if day < experiment.period.start:
        raise HistoryError(f"{day} lies before the period's first day {experiment.period.start}")
    if day < free and not rewrite:
        raise HistoryError(
            f"{day} was stepped already: an event there would rewrite {(free - day).days} days; date it {free} or later, "
            "or ask for the rewrite"
        )
    return day
