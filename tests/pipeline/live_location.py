"""A code location for a real daemon: the graph on a clock that a file holds, its daily schedule ticking every minute."""

import os
from datetime import datetime
from pathlib import Path

import dagster as dg

from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.instance import experiment_from, home_from, relax_sqlite, store_events_in_batches
from crossattn_pipeline.schedules import daily_data

CLOCK_VARIABLE = "CROSSATTN_TEST_CLOCK"
"""File with one aware instant in ISO 8601."""


def clock() -> datetime:
    return datetime.fromisoformat(Path(os.environ[CLOCK_VARIABLE]).read_text(encoding="utf-8"))


@dg.definitions
def defs() -> dg.Definitions:
    relax_sqlite()
    store_events_in_batches()
    experiment = experiment_from(os.environ)
    daily = daily_data(experiment, cron="* * * * *", clock=clock)
    return build_defs(experiment, home_from(os.environ), clock=clock, daily=daily)
