"""Sensors on the asset ``monitoring`` that launch the models: a complete new day, a regime change, drift or degradation.

Each reads the metadata of the newest materialization of ``monitoring``, written after the day's data: the retrain plan's decision
on the day. One reason belongs to one sensor, so two never launch the same day; the run evaluates the plan again and records the
reason that it finds. The plan's cool-down is the sensors': while it lasts the plan is "carry", with the reason.
A day whose own sensor is switched off is taken over by ``new_complete_day`` after a while.
"""

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import dagster as dg

from crossattn_core.days import days_between
from crossattn_pipeline.partitions import RANGE_END, range_tags
from crossattn_pipeline.schedules import TRIGGER

__all__ = ["OWNERS", "drift_or_degradation", "new_complete_day", "regime_change"]

OWNERS = {"regime_change": "regime_change", "drift": "drift_or_degradation", "degraded": "drift_or_degradation"}
"""Reason of the plan -> the sensor that launches for it; every other reason belongs to ``new_complete_day``."""

_MONITORING = dg.AssetKey("monitoring")
_TAKE_OVER_AFTER = timedelta(minutes=15)
_SECONDS_BETWEEN_TICKS = 30
_NOTHING_NEW = "no day was monitored since the last tick"


class _Monitored(NamedTuple):
    """A materialization of ``monitoring``, as a sensor reads it."""

    storage_id: int
    day: str
    due_from: str
    reason: str
    why: str
    panel_hash: str

    @property
    def owner(self) -> str:
        return OWNERS.get(self.reason, "new_complete_day")


def new_complete_day(clock: Callable[[], datetime]) -> dg.SensorDefinition:
    """For a day that the plan carries, or retrains by schedule or override; and for days that no other sensor launched."""

    @dg.sensor(
        name="new_complete_day",
        job_name="models",
        minimum_interval_seconds=_SECONDS_BETWEEN_TICKS,
        description="Walk forward when the panel gained days: the plan of each day decides whether to retrain, and says why.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor = _cursor(context)
        monitored = _newest_monitored(context.instance, cursor["storage_id"])
        if monitored is None:
            waiting = cursor.get("waiting")
            if waiting is None:
                return dg.SkipReason(_NOTHING_NEW)
            return _take_over(context, cursor, _Monitored(**waiting["seen"]), datetime.fromisoformat(waiting["since"]), clock())
        cursor |= {"storage_id": monitored.storage_id, "newest_day": monitored.day, "waiting": None}
        if monitored.due_from and monitored.owner != "new_complete_day":
            cursor["waiting"] = {"seen": monitored._asdict(), "since": clock().isoformat()}
            return _skip(f"{monitored.day} belongs to sensor {monitored.owner}: {monitored.why}", cursor)
        return _launch("new_complete_day", monitored, cursor)

    return sensor


def regime_change() -> dg.SensorDefinition:
    """For a day on which a regime change is confirmed."""
    return _trigger("regime_change", "Retrain when a regime change is confirmed.")


def drift_or_degradation() -> dg.SensorDefinition:
    """For a day on which features drifted or the first family fell behind."""
    return _trigger("drift_or_degradation", "Retrain when features drift or the first family's IC falls behind.")


def _trigger(name: str, description: str) -> dg.SensorDefinition:
    @dg.sensor(name=name, job_name="models", minimum_interval_seconds=_SECONDS_BETWEEN_TICKS, description=description)
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor = _cursor(context)
        monitored = _newest_monitored(context.instance, cursor["storage_id"])
        if monitored is None:
            return dg.SkipReason(_NOTHING_NEW)
        cursor |= {"storage_id": monitored.storage_id, "newest_day": monitored.day}
        if monitored.owner != name:
            return _skip(f"no {name} on {monitored.day}: the plan says {monitored.reason} ({monitored.why})", cursor)
        return _launch(name, monitored, cursor)

    return sensor


def _launch(name: str, monitored: _Monitored, cursor: dict[str, Any]) -> dg.SensorResult | dg.SkipReason:
    if not monitored.due_from:
        return _skip(f"{monitored.day} was stepped already, with the panel that is there", cursor)
    due = list(days_between(date.fromisoformat(monitored.due_from), date.fromisoformat(monitored.day)))
    # The panel's hash is in the key: one cause fires once, a panel that was revised is another cause.
    key = f"models {due[0]} {due[-1]} {monitored.panel_hash[:16]}"
    trigger = monitored.reason if monitored.owner == name and name != "new_complete_day" else name
    request = dg.RunRequest(run_key=key, tags=range_tags(due) | {TRIGGER: trigger, "crossattn/reason": monitored.reason})
    return dg.SensorResult(run_requests=[request], cursor=json.dumps(cursor))


def _take_over(
    context: dg.SensorEvaluationContext, cursor: dict[str, Any], monitored: _Monitored, since: datetime, now: datetime
) -> dg.SensorResult | dg.SkipReason:
    ran = context.instance.get_run_records(dg.RunsFilter(job_name="models", tags={RANGE_END: monitored.day}), limit=1)
    if ran:
        return _skip(f"{monitored.day} was launched by sensor {monitored.owner}", cursor | {"waiting": None})
    if now - since < _TAKE_OVER_AFTER:
        return dg.SkipReason(
            f"{monitored.day} belongs to sensor {monitored.owner}; taken over at {since + _TAKE_OVER_AFTER:%H:%M} UTC"
        )
    return _launch("new_complete_day", monitored, cursor | {"waiting": None})


def _cursor(context: dg.SensorEvaluationContext) -> dict[str, Any]:
    return json.loads(context.cursor) if context.cursor else {"storage_id": 0, "newest_day": ""}


def _skip(why: str, cursor: dict[str, Any]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=json.dumps(cursor))


def _newest_monitored(instance: dg.DagsterInstance, after: int) -> _Monitored | None:
    newer = dg.AssetRecordsFilter(asset_key=_MONITORING, after_storage_id=after or None)
    for record in instance.fetch_materializations(newer, limit=1, ascending=False).records:
        materialization = record.asset_materialization
        metadata = materialization.metadata if materialization is not None else {}
        if "day" in metadata:
            names = ("day", "due_from", "reason", "why", "panel_hash")
            return _Monitored(record.storage_id, *(str(metadata[name].value) for name in names))
    return None
