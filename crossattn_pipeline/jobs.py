"""Jobs: asset jobs over the whole graph and its halves, and the two op jobs by which a person overrides the walk-forward.

An override is launched in the web UI with a line of config; it is dated, and every walk over that day replays it. The commands
``crossattn retrain`` and ``rollback`` record the same.
"""

import os
import sqlite3
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import duckdb
from pydantic import Field

from crossattn_core.backup.destination import open_destination
from crossattn_core.backup.publish import publish
from crossattn_core.errors import FeedError, HistoryError
from crossattn_core.line import Line
from crossattn_core.stages import StageTable
from crossattn_core.walk_forward.overrides import force_retrain, roll_back
from crossattn_pipeline.assets.from_table import asset_key, closed_choice
from crossattn_pipeline.instance import PUBLISH_VARIABLE
from crossattn_pipeline.run_retention import prune
from crossattn_pipeline.stale import run_stale_job

__all__ = ["RetrainConfig", "all_jobs"]

_ALL = "all"

_PUBLISHED_AFTER = ("target_weights", "backtest_report")

_IN_BOTH_HALVES = ("regime_windows", "monitoring")
"""A closed day is monitored before the models see it, and again after."""


def all_jobs(stages: StageTable) -> list[Any]:
    """``line`` from candles to report; ``data`` up to the panel; ``models`` from the walk-forward to the report; and op jobs.

    Dagster's type of an asset job before it is resolved has no public name.
    """
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets("trained_model")
    keys = [asset_key(key) for stage in stages if stage.job == "data" and stage.is_asset for key in stage.keys]
    data = dg.AssetSelection.assets(*keys)
    watched = dg.AssetSelection.assets(*_IN_BOTH_HALVES)
    fresh = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("feature_windows"), "newest_expected_day_is_there"))
    selected = {
        "line": (everything, "Candles to report, for a day or a range of days."),
        "data": (data | watched, "Candles to panel, regimes and monitoring."),
        "models": (everything - data, "Walk-forward to report."),
        "train": (dg.AssetSelection.assets("trained_model"), "One checkpoint over a chosen range."),
        "freshness": (fresh, "Is the newest day that should be there, there?"),
    }
    hooks = {_retry_only_what_may_pass, _publish_results}
    asset_jobs = [
        dg.define_asset_job(name, selection, description=text, hooks=hooks) for name, (selection, text) in selected.items()
    ]
    return [*asset_jobs, run_stale_job(), _retrain_job(), _rollback_job(stages), _prune_job()]


class RetrainConfig(dg.Config):
    """Why, and from which day on."""

    note: str = Field(description="Why; the plan shows it.")
    day: str = Field(default="", description="Day (UTC, YYYY-MM-DD); empty: the first that was not stepped yet.")
    rewrite: bool = Field(
        default=False, description="Allow a day that was stepped already; it and all after it are stepped again."
    )

    def dated(self) -> date | None:
        """The day, none where it is empty."""
        try:
            return date.fromisoformat(self.day) if self.day else None
        except ValueError as error:
            raise HistoryError(f"day {self.day!r} is no date ({error}); write YYYY-MM-DD") from error


def _retrain_job() -> dg.JobDefinition:
    @dg.op(name="record_retrain", description="Record a forced retrain.")
    def record(context: dg.OpExecutionContext, config: RetrainConfig, line: dg.ResourceParam[Line]) -> None:
        override = force_retrain(line.home, line.experiment, config.note, day=config.dated(), rewrite=config.rewrite)
        context.log.info(f"{override.kind} at {override.day}: {override.note}")

    @dg.job(name="force_retrain", description="Retrain every family at a day's start.")
    def job() -> None:
        record()

    return job


def _rollback_job(stages: StageTable) -> dg.JobDefinition:
    families = closed_choice("RolledBack", (_ALL, *stages.experiment.retrain.families))

    class RollbackConfig(RetrainConfig):
        """As a retrain, with what goes back to what."""

        family: families = Field(default=families[_ALL], description="The model family that goes back.")  # pyright: ignore[reportInvalidTypeForm]
        model_id: str = Field(default="", description="The model to serve, with one family; empty: the one before.")

    @dg.op(name="record_rollback", description="Record a rollback.")
    def record(context: dg.OpExecutionContext, config: RollbackConfig, line: dg.ResourceParam[Line]) -> None:
        model = {"family": "" if config.family.value == _ALL else config.family.value, "model_id": config.model_id}
        override = roll_back(line.home, line.experiment, config.note, day=config.dated(), rewrite=config.rewrite, **model)
        context.log.info(f"{override.kind} at {override.day}: {override.family or 'all families'}, {override.note}")

    @dg.job(name="rollback", description="Put an earlier healthy model in force from a day on.")
    def job() -> None:
        record()

    return job


def _prune_job() -> dg.JobDefinition:
    @dg.op(description="Delete what 'retention' of the experiment no longer keeps, as 'crossattn prune' does.")
    def delete_what_is_not_kept(context: dg.OpExecutionContext, line: dg.ResourceParam[Line]) -> None:
        now = datetime.now(UTC)
        for found in prune(context.instance, line.home, line.experiment, line.last_day, now=now):
            context.log.info(f"{found.kind}: {found.count} deleted, {found.size_bytes / 1e6:,.1f} MB")

    @dg.job(name="prune", description="Runs, logs, weights of models and pages that are older than 'retention' keeps them.")
    def job() -> None:
        delete_what_is_not_kept()

    return job


@dg.failure_hook(name="retry_only_what_may_pass")
def _retry_only_what_may_pass(context: dg.HookContext) -> None:
    """A run whose failure a later try repeats (a check that failed, rows that break a rule) is not launched again."""
    error, chain = context.op_exception, []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    if chain and not any(isinstance(found, FeedError | OSError | sqlite3.Error | duckdb.IOException) for found in chain):
        context.instance.add_run_tags(context.run_id, {"dagster/max_retries": "0"})


@dg.success_hook(name="publish_results", required_resource_keys={"line"})
def _publish_results(context: dg.HookContext) -> None:
    """Target weights and pages, once made, go where the environment says; a failure is in the run's log and fails nothing."""
    place = os.environ.get(PUBLISH_VARIABLE)
    if place and context.op.name in _PUBLISHED_AFTER:
        line: Line = context.resources.line
        sent = publish(line.home, open_destination(place, os.environ, make=True), line.clock())
        context.log.info(f"{sent} files published")
