"""A code location for a real daemon over PostgreSQL: a sensor that asks for twenty runs at once, a schedule, jobs that fail."""

import os
import time
from pathlib import Path

import dagster as dg

MARK_VARIABLE = "CROSSATTN_TEST_MARK"
"""File that is there once a worker has died."""


@dg.op
def take_a_while() -> None:
    time.sleep(0.5)


@dg.op
def refuse() -> None:
    raise ValueError("these rows break a rule, and will again")


@dg.op
def die_once() -> None:
    mark = Path(os.environ[MARK_VARIABLE])
    if not mark.exists():
        mark.touch()
        os._exit(9)


@dg.job
def queued() -> None:
    take_a_while()


@dg.job
def every_minute() -> None:
    take_a_while()


@dg.job
def refuses() -> None:
    refuse()


@dg.job
def dies_once() -> None:
    die_once()


@dg.sensor(jobs=[queued, refuses, dies_once], minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def asks_for_twenty():
    for number in range(20):
        yield dg.RunRequest(run_key=f"queued {number}", job_name="queued")
    yield dg.RunRequest(run_key="refuses", job_name="refuses")
    yield dg.RunRequest(run_key="dies", job_name="dies_once")


@dg.definitions
def defs() -> dg.Definitions:
    minutely = dg.ScheduleDefinition(job=every_minute, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
    return dg.Definitions(jobs=[queued, refuses, dies_once], schedules=[minutely], sensors=[asks_for_twenty])
