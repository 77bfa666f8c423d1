"""Sensors that launch the models: a complete new day, a confirmed regime change, drift or degradation.

Each reads the metadata of the newest ``monitoring`` event, written after the day's data, in which the retrain plan has said
what it makes of the day. One reason belongs to one sensor, so two never launch the same day; the run asks the plan again
and records the reason that it finds. The plan's cool-down is the sensors': while it lasts the plan says "carry" and why.
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


class _Seen(NamedTuple):
    """A monitoring event, as a sensor reads it."""

    storage_id: int
    day: str
    due_from: str
    reason: str
    why: str
    panel_hash: str

    @property
    def owner(self) -> str:
        return OWNERS.get(self.reason, "new_complete_day")


def new_complete_day(clock: Callable[[], datetime], *, seconds: int = 30) -> dg.SensorDefinition:
    """For a day that the plan carries, or retrains by schedule or by order; and for days that nobody else launched."""

    @dg.sensor(
        name="new_complete_day",
        job_name="models",
        minimum_interval_seconds=seconds,
        description="Walk forward when the panel gained days: the plan of each day decides whether to retrain, and says why.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor = _cursor(context)
        seen = _newest(context.instance, cursor["storage_id"])
        if seen is None:
            waiting = cursor.get("waiting")
            if waiting is None:
                return dg.SkipReason("monitoring saw no day since the last look")
            return _take_over(context, cursor, _Seen(**waiting["seen"]), datetime.fromisoformat(waiting["since"]), clock())
        cursor |= {"storage_id": seen.storage_id, "newest_day": seen.day, "waiting": None}
        if seen.due_from and seen.owner != "new_complete_day":
            cursor["waiting"] = {"seen": seen._asdict(), "since": clock().isoformat()}
            return _skip(f"{seen.day} belongs to sensor {seen.owner}: {seen.why}", cursor)
        return _launch("new_complete_day", seen, cursor)

    return sensor


def regime_change(*, seconds: int = 30) -> dg.SensorDefinition:
    """For a day on which a regime change is confirmed."""
    return _trigger("regime_change", "Retrain when a regime change is confirmed.", seconds)


def drift_or_degradation(*, seconds: int = 30) -> dg.SensorDefinition:
    """For a day on which features drifted or the first family fell behind."""
    return _trigger("drift_or_degradation", "Retrain when features drift or the first family's IC falls behind.", seconds)


def _trigger(name: str, description: str, seconds: int) -> dg.SensorDefinition:
    @dg.sensor(name=name, job_name="models", minimum_interval_seconds=seconds, description=description)
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor = _cursor(context)
        seen = _newest(context.instance, cursor["storage_id"])
        if seen is None:
            return dg.SkipReason("monitoring saw no day since the last look")
        cursor |= {"storage_id": seen.storage_id, "newest_day": seen.day}
        if seen.owner != name:
            return _skip(f"no {name} on {seen.day}: the plan says {seen.reason} ({seen.why})", cursor)
        return _launch(name, seen, cursor)

    return sensor


def _launch(name: str, seen: _Seen, cursor: dict[str, Any]) -> dg.SensorResult | dg.SkipReason:
    if not seen.due_from:
        return _skip(f"{seen.day} was stepped already, with the panel that is there", cursor)
    due = list(days_between(date.fromisoformat(seen.due_from), date.fromisoformat(seen.day)))
    # The panel's hash stands in the key: one cause fires once, a panel that was revised is another cause.
    key = f"models {due[0]} {due[-1]} {seen.panel_hash[:16]}"
    trigger = seen.reason if seen.owner == name and name != "new_complete_day" else name
    request = dg.RunRequest(run_key=key, tags=range_tags(due) | {TRIGGER: trigger, "crossattn/reason": seen.reason})
    return dg.SensorResult(run_requests=[request], cursor=json.dumps(cursor))


def _take_over(
    context: dg.SensorEvaluationContext, cursor: dict[str, Any], seen: _Seen, since: datetime, now: datetime
) -> dg.SensorResult | dg.SkipReason:
    ran = context.instance.get_run_records(dg.RunsFilter(job_name="models", tags={RANGE_END: seen.day}), limit=1)
    if ran:
        return _skip(f"{seen.day} was launched by sensor {seen.owner}", cursor | {"waiting": None})
    if now - since < _TAKE_OVER_AFTER:
        return dg.SkipReason(f"{seen.day} belongs to sensor {seen.owner}; taken over at {since + _TAKE_OVER_AFTER:%H:%M} UTC")
    return _launch("new_complete_day", seen, cursor | {"waiting": None})


def _cursor(context: dg.SensorEvaluationContext) -> dict[str, Any]:
    return json.loads(context.cursor) if context.cursor else {"storage_id": 0, "newest_day": ""}


def _skip(why: str, cursor: dict[str, Any]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=json.dumps(cursor))


def _newest(instance: dg.DagsterInstance, after: int) -> _Seen | None:
    wanted = dg.AssetRecordsFilter(asset_key=_MONITORING, after_storage_id=after or None)
    for record in instance.fetch_materializations(wanted, limit=1, ascending=False).records:
        materialization = record.asset_materialization
        told = materialization.metadata if materialization is not None else {}
        if "day" in told:
            names = ("day", "due_from", "reason", "why", "panel_hash")
            return _Seen(record.storage_id, *(str(told[name].value) for name in names))
    return None
