"""One day as a person reviews it before trading: what was decided, what changed since the day before, what speaks against it.

Everything is read from what is stored; nothing runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from crossattn_core.candles.lake.coverage import coverage_of
from crossattn_core.days import bounds
from crossattn_core.line import Line
from crossattn_core.regimes.daily import REGIME_NAMES
from crossattn_core.selection.handover import check_handover, read_champions, read_handover
from crossattn_core.walk_forward.store import predictions_hash, predictions_path, read_day, read_plan

__all__ = ["Change", "DayReview", "review_day"]

_MIN_WEIGHT_CHANGE = 5e-4
"""A weight that moves less is not listed: shares are shown to a tenth of a percent."""


@dataclass(frozen=True)
class Change:
    """Something that is other than it was on the day before."""

    what: str
    before: str
    now: str
    why: str = ""


@dataclass(frozen=True)
class DayReview:
    """A day of the walk-forward, beside the day before."""

    day: date
    decisions: tuple[str, ...]
    """The retrain plan's decision, family by family."""
    changes: tuple[Change, ...]
    against: tuple[str, ...]
    """What speaks against trading on the day's weights, each with what to do; empty where nothing does."""


def review_day(line: Line, day: date) -> DayReview:
    """Review ``day`` as it is stored.

    Raises:
        BacktestError: nothing was handed over yet.
    """
    before = day - timedelta(days=1)
    plan = read_plan(line.home, before, day)
    today, yesterday = (plan[plan["day"] == pd.Timestamp(one)].set_index("family") for one in (day, before))
    handover = read_handover(line.home.target_weights)
    start, end = bounds(day)
    ordered = handover[(handover["as_of"] > start) & (handover["as_of"] <= end)]
    decisions = tuple(f"{family}: {row.action}, {row.reason} ({row.why})" for family, row in today.iterrows())
    changes = (*_plan_changes(today, yesterday), *_champion_change(line, day), *_weight_changes(line, ordered))
    return DayReview(day, decisions, changes, tuple(_against(line, day, today, ordered)))


def _plan_changes(today: pd.DataFrame, yesterday: pd.DataFrame) -> Iterator[Change]:
    """The plan's rows by family."""
    if len(today) and len(yesterday) and (now := _regime(today)) != (before := _regime(yesterday)):
        yield Change("regime", before, now)
    models = {str(family): str(model) for family, model in yesterday["model_id"].items()}
    for family, row in today.iterrows():
        before, now = models.get(str(family), ""), str(row["model_id"])
        if before != now:
            yield Change(f"model of {family}", before or "none", now or "none", f"{row['reason']}: {row['why']}")


def _regime(rows: pd.DataFrame) -> str:
    number = int(rows["regime"].iloc[0])
    return REGIME_NAMES[number] if number >= 0 else "unknown"


def _champion_change(line: Line, day: date) -> Iterator[Change]:
    champions = read_champions(line.home.target_weights)
    if champions is not None:
        by_day = champions.by_day.set_index("day")
        now, before = (by_day["champion"].get(pd.Timestamp(one)) for one in (day, day - timedelta(days=1)))
        if now and before and now != before:
            yield Change("champion", before, now, by_day["why"][pd.Timestamp(day)])


def _weight_changes(line: Line, ordered: pd.DataFrame) -> Iterator[Change]:
    names = dict(zip(line.experiment.asset_ids, line.experiment.symbols, strict=True))
    for row in ordered.to_dict("records"):
        weight, held = row["weight"], row["held_weight"]
        if abs(weight - held) >= _MIN_WEIGHT_CHANGE:  # never where the position is left alone: its weight is NaN
            why = f"decided at {row['as_of']:%H:%M} UTC by {row['champion']}"
            yield Change(f"weight of {names[row['asset_id']]}", f"{held:+.1%}", f"{weight:+.1%}", why)


def _against(line: Line, day: date, today: pd.DataFrame, ordered: pd.DataFrame) -> Iterator[str]:
    experiment = line.experiment
    if day != line.last_day:
        yield f"its decisions are past: the newest complete day is {line.last_day}"
    if stale := [stage.stage for stage in line.staleness.stale_stages(day, day)]:
        yield f"{', '.join(stale)}: stale; 'crossattn stale --why' says why, 'crossattn run' makes it"
    for row in coverage_of(line.lake, experiment.assets, day, day, experiment.feed.gap_tolerance):
        if not row.is_complete:
            yield f"{row.asset_id} {row.kind}: {row.rows} of {row.expected} rows are there: 'crossattn fetch' asks again"
        if row.revisions_waiting:
            yield f"{row.asset_id} {row.kind}: {row.revisions_waiting} values were revised later: 'crossattn candles revisions'"
    if today.empty:
        yield f"the walk-forward has not stepped {day}: 'crossattn run'"
    for family, row in today.iterrows():
        if not row["model_id"]:
            yield f"no model of {family} is in force: {row['why']}"
        if not row["healthy"]:
            yield f"the newest fit of {family} is not healthy ({row['health']}): the last healthy one serves"
    record = read_day(line.home, day)
    if record is not None and record.get("forecast_hash") != predictions_hash(line.home, day):
        path = predictions_path(line.home, day)
        yield f"{path}: not what was written when the day was stepped: delete it, and 'crossattn run' steps the day again"
    if ordered.empty:
        yield "nothing was decided on this day"
    for fault in check_handover(ordered, experiment).to_dict("records"):
        yield f"{fault['asset_id']}: weight {fault['weight']:+.1%}: {fault['fault']}"
