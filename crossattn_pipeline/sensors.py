"""Sensors: models for each newly complete day (see monitoring_sensors.py), days that were missed, a record of each failure.

Sensors read Dagster's own event log and never open DuckDB. A run key names the days and their sensor, so no sensor fires twice
for one cause. Days are missed when they are missing at two ticks in a row and no run is about to make them: what is under way,
or due to another sensor this minute, is not missed.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import requests

from crossattn_core.candles.feeds.feed import newest_complete_day
from crossattn_core.candles.feeds.registry import wall_clock
from crossattn_core.days import days_between
from crossattn_core.errors import CrossattnError
from crossattn_core.experiment import Experiment
from crossattn_core.storage import write_json
from crossattn_pipeline.instance import WEBHOOK_VARIABLE
from crossattn_pipeline.monitoring_sensors import drift_or_degradation, new_complete_day, regime_change
from crossattn_pipeline.partitions import RANGE_END, RANGE_START, range_tags
from crossattn_pipeline.schedules import COMMAND_LINE, PENDING, TRIGGER
from crossattn_pipeline.stale import what_is_stale

__all__ = ["all_sensors", "failure_alert", "marts", "missing_days", "missing_forecasts"]

_WILL_RETRY = "dagster/will_retry"
"""Dagster's tag of a failed run that it launches again."""
_PANEL = dg.AssetKey("feature_windows")
_FORECASTS = dg.AssetKey("forecasts")


def all_sensors(
    experiment: Experiment, home_root: Path, webhook: str, *, clock: Callable[[], datetime] = wall_clock
) -> list[dg.SensorDefinition]:
    """Every sensor of the graph; they start stopped, since a recorded experiment needs none."""
    launching = [new_complete_day(clock), regime_change(), drift_or_degradation()]
    filling = [missing_days(experiment, clock=clock), missing_forecasts(experiment, clock=clock)]
    return [*launching, *filling, what_is_stale(experiment, home_root, clock), failure_alert(home_root, webhook), marts()]


def marts() -> dg.AutomationConditionSensorDefinition:
    """When what a mart reads was made outside the jobs, which make the marts themselves: the mart."""
    return dg.AutomationConditionSensorDefinition(
        "marts",
        target=dg.AssetSelection.groups("marts"),
        run_tags={TRIGGER: "marts"},
        description="Make a mart when what it reads was made and the run did not make the mart itself.",
    )


def missing_days(experiment: Experiment, *, clock: Callable[[], datetime] = wall_clock) -> dg.SensorDefinition:
    """When days have no panel (a missed tick, a failed run, a home that is new): their data, once a day and hole."""

    def holes(instance: dg.DagsterInstance, days: Sequence[date]) -> list[date]:
        present = _materialized(instance, _PANEL)
        return [day for day in days if day not in present]

    return _filling("missing_days", "data", "Fill holes of the panel.", holes, experiment, clock)


def missing_forecasts(experiment: Experiment, *, clock: Callable[[], datetime] = wall_clock) -> dg.SensorDefinition:
    """When days have a panel but no forecasts (a run that failed for good): their models, once a day and hole."""

    def holes(instance: dg.DagsterInstance, days: Sequence[date]) -> list[date]:
        panel, forecasts = _materialized(instance, _PANEL), _materialized(instance, _FORECASTS)
        # The newest day is left to the sensors that know why it is due; days behind a hole of the panel wait for it.
        before = list(itertools.takewhile(lambda day: day in panel, days[:-1]))
        return [day for day in before if day not in forecasts]

    return _filling("missing_forecasts", "models", "Fill holes of the forecasts, the newest day aside.", holes, experiment, clock)


def _filling(
    name: str,
    job_name: str,
    description: str,
    holes: Callable[[dg.DagsterInstance, Sequence[date]], list[date]],
    experiment: Experiment,
    clock: Callable[[], datetime],
) -> dg.SensorDefinition:
    @dg.sensor(name=name, job_name=job_name, minimum_interval_seconds=600, description=description)
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = clock()
        ended = experiment.period.end
        newest = newest_complete_day(now, experiment.publication_lag) if ended is None else ended
        first = experiment.period.start
        open_ = holes(context.instance, list(days_between(first, newest)))
        under_way = _under_way(context.instance, job_name)
        seen = json.loads(context.cursor).get("missing", []) if context.cursor else []
        waiting = [day for day in open_ if day not in under_way]
        found = [day for day in waiting if day.isoformat() in seen]
        cursor = json.dumps({"checked_until": newest.isoformat(), "missing": [day.isoformat() for day in waiting]})
        if not found:
            count = f"{len(open_)} days, under way or seen for the first time," if open_ else "none"
            return dg.SensorResult(skip_reason=f"{name}: {count} among {first} .. {newest}", cursor=cursor)
        # One attempt a day for each hole: the key holds today's date.
        requests_ = [
            dg.RunRequest(run_key=f"{name} {span[0]} {span[-1]} {now:%Y-%m-%d}", tags=range_tags(span) | {TRIGGER: name})
            for span in _consecutive(found)
        ]
        return dg.SensorResult(run_requests=requests_, cursor=cursor)

    return sensor


def failure_alert(home_root: Path, webhook: str) -> dg.SensorDefinition:
    """After a run and its retries failed: one alert record in the home, and one POST to ``webhook`` where it is not empty."""

    @dg.run_failure_sensor(name="failure_alert", description="Write an alert record; call the webhook where one is set.")
    def sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get(TRIGGER) == COMMAND_LINE:
            return dg.SkipReason(f"run {run.run_id} was started by hand, and whoever started it was told")
        if run.tags.get(_WILL_RETRY) == "true":
            return dg.SkipReason(f"run {run.run_id} failed and is launched again; an alert follows if that fails too")
        alert = {
            "run_id": run.run_id,
            "job": run.job_name,
            "trigger": run.tags.get(TRIGGER, "by hand"),
            "message": context.failure_event.message or "",
        }
        write_json(home_root / "alerts" / f"{run.run_id}.json", alert)
        if webhook:
            _post(webhook, alert)
        return None

    return sensor


def _post(webhook: str, alert: dict[str, str]) -> None:
    """POST an alert; what goes wrong is told without the address, which may hold a token."""
    try:
        status = requests.post(webhook, json=alert, timeout=10).status_code
    except requests.RequestException as error:
        status = type(error).__name__
    if status not in range(200, 300):
        raise CrossattnError(f"the address in {WEBHOOK_VARIABLE} did not take the alert of run {alert['run_id']} ({status})")


def _under_way(instance: dg.DagsterInstance, job_name: str) -> set[date]:
    """Days that a run of ``job_name`` which has not ended is to make."""
    pending = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=PENDING))
    spans = [(run.tags.get(RANGE_START), run.tags.get(RANGE_END)) for run in pending]
    return {
        day
        for first, last in spans
        if first is not None and last is not None
        for day in days_between(date.fromisoformat(first), date.fromisoformat(last))
    }


def _materialized(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[date]:
    return {date.fromisoformat(name) for name in instance.get_materialized_partitions(key)}


def _consecutive(days: Sequence[date]) -> list[list[date]]:
    """Split ascending days into runs without holes.

    >>> [len(run) for run in _consecutive([date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 5)])]
    [2, 1]
    """
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs
