"""The two things that a person asks of the walk-forward, as jobs: launch them in the web UI with a line of config.

Each records a dated event; every walk over that day replays it. The commands ``crossattn retrain`` and ``rollback`` do the same.
"""

from datetime import date

import dagster as dg

from crossattn_core.line import Line
from crossattn_core.walk_forward.overrides import force_retrain, roll_back

__all__ = ["RetrainRequest", "RollbackRequest", "retrain_job", "rollback_job"]


class RetrainRequest(dg.Config):
    """Why, and from which day on (empty: the first day not stepped yet)."""

    note: str
    day: str = ""
    rewrite: bool = False
    """Allow a day that was stepped already; it and all after it are stepped again."""


class RollbackRequest(RetrainRequest):
    """As a retrain, with the family that goes back (empty: all) and the model to serve (empty: the one before)."""

    family: str = ""
    model_id: str = ""


def retrain_job() -> dg.JobDefinition:
    """``force_retrain``: one event."""

    @dg.op(name="record_retrain", description="Record a forced retrain.")
    def record(context: dg.OpExecutionContext, config: RetrainRequest, line: dg.ResourceParam[Line]) -> None:
        event = force_retrain(line.home, line.experiment, config.note, day=_day(config), rewrite=config.rewrite)
        context.log.info(f"{event.kind} at {event.day}: {event.note}")

    @dg.job(name="force_retrain", description="Ask for a retrain of every family at a day's start.")
    def job() -> None:
        record()

    return job


def rollback_job() -> dg.JobDefinition:
    """``rollback``: one event."""

    @dg.op(name="record_rollback", description="Record a rollback.")
    def record(context: dg.OpExecutionContext, config: RollbackRequest, line: dg.ResourceParam[Line]) -> None:
        which = {"family": config.family, "model_id": config.model_id}
        event = roll_back(line.home, line.experiment, config.note, day=_day(config), rewrite=config.rewrite, **which)
        context.log.info(f"{event.kind} at {event.day}: {event.family or 'all families'}, {event.note}")

    @dg.job(name="rollback", description="Put an earlier healthy model in force from a day on.")
    def job() -> None:
        record()

    return job


def _day(config: RetrainRequest) -> date | None:
    return date.fromisoformat(config.day) if config.day else None
