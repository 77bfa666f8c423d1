"""What ``crossattn run`` does, in the web UI: the job ``run_stale``, and the sensor ``what_is_stale`` that requests it.

Dagster compares a day with the same day upstream; crossattn's rules (stages.py) know that a day of the walk-forward rests on
every day before. So staleness is asked of the receipts, and both ways of running make the same partitions in the same order.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg

from crossattn_core.experiment import Experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.receipts import combined_hash
from crossattn_core.staleness import Reason
from crossattn_pipeline.schedules import PENDING, TRIGGER

__all__ = ["WHY", "run_stale_job", "what_is_stale"]

WHY = "crossattn/why"
"""Run tag: the reasons for which something is stale."""

_MAX_TAG = 500
_NEVER_MADE = ("never made", "never complete")


def run_stale_job() -> dg.JobDefinition:
    """The job that makes what is stale, upstream first, as the runs ``data`` and ``models``."""

    @dg.op(name="make_what_is_stale", description="Materialize what is stale, as 'crossattn run' does, and say why it was.")
    def make(context: dg.OpExecutionContext, line: dg.ResourceParam[Line]) -> None:
        from crossattn_pipeline.launch import materialize_stale  # which loads the definitions that hold this job

        first, last = line.experiment.period.start, line.last_day
        staleness = line.staleness
        for entry in staleness.stale_stages(first, last):
            for reason in staleness.lines(entry.stage, first, last):
                context.log.info(reason)
        if not materialize_stale(line, first, last, context.log.info):
            context.log.info("everything is up to date; nothing to recompute")

    @dg.job(name="run_stale", description="Make what 'crossattn run' would make: stale stages and days, each with its reason.")
    def job() -> None:
        make()

    return job


def what_is_stale(experiment: Experiment, home_root: Path, clock: Callable[[], datetime]) -> dg.SensorDefinition:
    """For what was made and is stale: code, knobs or candles changed. What was never made belongs to the other sensors."""

    @dg.sensor(
        name="what_is_stale",
        job_name="run_stale",
        minimum_interval_seconds=600,
        description="Run what is stale because code, knobs or stored candles changed; the run's tag says why.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not (home_root / "home.json").is_file():
            return dg.SkipReason(f"there is no home at {home_root} yet")
        pending = context.instance.get_runs(dg.RunsFilter(statuses=PENDING), limit=1)
        if pending:
            return dg.SkipReason(f"run {pending[0].run_id} of {pending[0].job_name} is under way")
        line = Line(experiment, open_home(home_root, experiment), clock=clock)
        first, last, staleness = experiment.period.start, line.last_day, line.staleness
        cause, lines = "", []
        for entry in staleness.stale_stages(first, last):
            expected = staleness.expected(entry.stage)
            made = {key: reason for key, reason in staleness.reasons(entry.stage, first, last).items() if _was_made(reason)}
            cause = combined_hash(cause, *(f"{entry.stage} {key} {expected[key]}" for key in made)) if made else cause
            lines += staleness.lines(entry.stage, first, last) if made else []
        seen = json.loads(context.cursor)["cause"] if context.cursor else ""
        cursor = json.dumps({"cause": cause})
        if not cause:
            return dg.SensorResult(skip_reason="nothing that was made is stale", cursor=cursor)
        why = "; ".join(lines)
        if cause != seen:
            # Between the runs of a new day its whole stages are stale for a moment.
            return dg.SensorResult(skip_reason=f"stale at this tick; run if it is at the next one: {why}", cursor=cursor)
        shown = why if len(why) <= _MAX_TAG else f"{why[:_MAX_TAG]} ..."
        request = dg.RunRequest(run_key=f"stale {cause}", tags={TRIGGER: "what_is_stale", WHY: shown})
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return sensor


def _was_made(reason: Reason) -> bool:
    return reason.cause != "missing" and not reason.why.endswith(_NEVER_MADE)
