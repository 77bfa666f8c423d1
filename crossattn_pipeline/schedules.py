"""Schedules: after each UTC day closes, its data; an hour later, whether it is there; at night, what is no longer kept."""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from crossattn_core.candles.feeds.feed import newest_complete_day
from crossattn_core.experiment import Experiment
from crossattn_pipeline.partitions import RANGE_END, range_tags

__all__ = ["COMMAND_LINE", "PENDING", "TRIGGER", "daily_data", "daily_freshness", "daily_prune"]

TRIGGER = "crossattn/trigger"
"""Run tag: why a run exists."""

COMMAND_LINE = "command line"
"""Trigger of a run whose caller waits for it and reads its message."""

PENDING = [
    status
    for status in dg.DagsterRunStatus
    if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]
"""What a run that has not ended may be."""


def daily_data(
    experiment: Experiment, *, cron: str = "10 0 * * *", clock: Callable[[], datetime] | None = None
) -> dg.ScheduleDefinition:
    """Ten minutes after the UTC day closed: candles to panel for that day. Missed days are caught up by a sensor.

    Args:
        clock: aware UTC, read in place of the time that the tick was scheduled for; for a schedule that is rehearsed.
    """

    @dg.schedule(
        name="daily_data",
        job_name="data",
        cron_schedule=cron,
        execution_timezone="UTC",
        description="Candles to panel for the day that just closed.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time if clock is None else clock()
        day = newest_complete_day(now.astimezone(UTC), experiment.publication_lag)
        last = experiment.period.end
        if day < experiment.period.start or (last is not None and day > last):
            return dg.SkipReason(f"{day} lies outside the experiment's period {experiment.period.start} .. {last or 'open'}")
        # A schedule's run key holds for its own tick only; the day is requested once, however often the schedule ticks.
        requested = dg.RunsFilter(job_name="data", tags={TRIGGER: "schedule", RANGE_END: day.isoformat()})
        before = context.instance.get_runs(requested, limit=1)
        if before:
            return dg.SkipReason(f"{day} was requested already, by run {before[0].run_id}")
        return dg.RunRequest(run_key=f"data {day}", tags=range_tags([day]) | {TRIGGER: "schedule"})

    return schedule


def daily_freshness() -> dg.ScheduleDefinition:
    """An hour after the day's data was due: is it there?"""
    return dg.ScheduleDefinition(
        name="daily_freshness",
        job_name="freshness",
        cron_schedule="10 1 * * *",
        execution_timezone="UTC",
        tags={TRIGGER: "freshness"},
        description="Check that the newest expected day is there, whatever was materialized last.",
    )


def daily_prune() -> dg.ScheduleDefinition:
    """Once a day, at a quiet hour: what ``retention`` no longer keeps."""
    return dg.ScheduleDefinition(
        name="daily_prune",
        job_name="prune",
        cron_schedule="40 3 * * *",
        execution_timezone="UTC",
        tags={TRIGGER: "prune"},
        description="Delete runs, logs, weights of models and pages that 'retention' of the experiment no longer keeps.",
    )
