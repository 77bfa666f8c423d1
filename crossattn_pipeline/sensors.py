"""Sensors: models for each newly complete day, data for days that were missed, a record of each failure.

Sensors read Dagster's own event log and never open DuckDB. A run key names the days and the materialization that asked
for them, so no sensor fires twice for one cause.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import requests

from crossattn_core.candles.feed import newest_complete_day
from crossattn_core.candles.opening import wall_clock
from crossattn_core.days import days_between
from crossattn_core.experiment import Experiment
from crossattn_core.storage import write_json
from crossattn_pipeline.partitions import range_tags
from crossattn_pipeline.schedules import TRIGGER

__all__ = ["all_sensors", "failure_alert", "missing_days", "new_complete_day"]

_PANEL = dg.AssetKey("feature_windows")
_FORECASTS = dg.AssetKey("forecasts")
_LOOK_BACK_DAYS = 30
_EVENTS_A_TICK = 1000


def all_sensors(experiment: Experiment, home_root: Path, webhook: str) -> list[dg.SensorDefinition]:
    """Every sensor of the graph; they start stopped, since a recorded experiment needs none."""
    return [new_complete_day(experiment), missing_days(experiment), failure_alert(home_root, webhook)]


def new_complete_day(experiment: Experiment) -> dg.SensorDefinition:
    """When the panel gains a day: walk forward to it, then weights and report."""

    @dg.sensor(
        name="new_complete_day",
        job_name="models",
        minimum_interval_seconds=30,
        description="Walk forward when the panel gained days: the plan of each day decides whether to retrain, and says why.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        after = json.loads(context.cursor)["storage_id"] if context.cursor else 0
        wanted = dg.AssetRecordsFilter(asset_key=_PANEL, after_storage_id=after)
        found = context.instance.fetch_materializations(wanted, limit=_EVENTS_A_TICK, ascending=True).records
        if not found:
            return dg.SkipReason("no day was added to the panel since the last look")
        newest_event = found[-1].storage_id
        added = sorted(date.fromisoformat(record.partition_key) for record in found if record.partition_key)
        cursor = json.dumps({"storage_id": newest_event, "newest_day": added[-1].isoformat()})
        stepped = _materialized(context.instance, _FORECASTS)
        due = [day for day in days_between(experiment.period.start, added[-1]) if day >= added[0] or day not in stepped]
        request = dg.RunRequest(
            run_key=f"models {added[-1]} {newest_event}", tags=range_tags(due) | {TRIGGER: "new_complete_day"}
        )
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return sensor


def missing_days(
    experiment: Experiment, *, look_back_days: int = _LOOK_BACK_DAYS, clock: Callable[[], datetime] = wall_clock
) -> dg.SensorDefinition:
    """When recent days have no panel (a missed tick, a failed run): their data, once a day and hole."""

    @dg.sensor(
        name="missing_days",
        job_name="data",
        minimum_interval_seconds=600,
        description=f"Fill holes of the panel among the newest {look_back_days} days.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = clock()
        newest = newest_complete_day(now) if experiment.period.end is None else experiment.period.end
        first = max(experiment.period.start, newest - timedelta(days=look_back_days - 1))
        present = _materialized(context.instance, _PANEL)
        holes = [day for day in days_between(first, newest) if day not in present]
        if not holes:
            return dg.SkipReason(f"the panel holds every day of {first} .. {newest}")
        runs = _consecutive(holes)
        cursor = json.dumps({"checked_until": newest.isoformat(), "holes": len(holes)})
        # One attempt a day for each hole: the key holds today's date.
        requests_ = [
            dg.RunRequest(run_key=f"holes {span[0]} {span[-1]} {now:%Y-%m-%d}", tags=range_tags(span) | {TRIGGER: "missing_days"})
            for span in runs
        ]
        return dg.SensorResult(run_requests=requests_, cursor=cursor)

    return sensor


def failure_alert(home_root: Path, webhook: str) -> dg.SensorDefinition:
    """After a run failed: one alert record in the home, and one POST to ``webhook`` where it is not empty."""

    @dg.run_failure_sensor(name="failure_alert", description="Write an alert record; call the webhook where one is set.")
    def sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        alert = {
            "run_id": run.run_id,
            "job": run.job_name,
            "trigger": run.tags.get(TRIGGER, "by hand"),
            "message": context.failure_event.message or "",
        }
        write_json(home_root / "alerts" / f"{run.run_id}.json", alert)
        if webhook:
            requests.post(webhook, json=alert, timeout=10).raise_for_status()

    return sensor


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
