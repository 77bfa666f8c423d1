"""Runs of the asset jobs from the command line: what is stale, in this process, recorded on the shared Dagster instance."""

import logging
import warnings
from collections.abc import Callable, Iterable
from datetime import date

import dagster as dg

from crossattn_core.candles.ingest.absent import refuse_absent
from crossattn_core.errors import CrossattnError
from crossattn_core.home import check_writable
from crossattn_core.line import Line
from crossattn_core.stage import DayRule
from crossattn_core.staleness import StaleStage
from crossattn_pipeline.commands.faults import remedy
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.instance import adopt_instance
from crossattn_pipeline.origin import name_origin
from crossattn_pipeline.partitions import range_tags
from crossattn_pipeline.schedules import COMMAND_LINE, TRIGGER

__all__ = ["materialize", "materialize_stale"]

JOBS = ("data", "models")
"""Jobs in the order in which they run: a panel that comes out unchanged needs no new models."""

_NO_RETRY = {"dagster/max_retries": "0"}
"""The caller waits for this run and reads its message: the daemon must not launch it again."""


def materialize_stale(line: Line, first: date, last: date, show: Callable[[str], None]) -> bool:
    """Run what is stale, upstream first, until nothing is that was not tried; True when something ran.

    Raises:
        CrossattnError: a stage failed; what was made before stays.
    """
    candles = {entry.stage for entry in _runnable(line, "data", first, last)} & set(line.experiment.candle_stages)
    if candles:
        refuse_absent(line.feed(), line.lake, line.experiment.assets, first, last, line.experiment.feed.gap_tolerance)
    ran = False
    for job in JOBS:
        tried: list[StaleStage] = []
        while stale := [entry for entry in _runnable(line, job, first, last) if entry not in tried]:
            tried += stale
            days = sorted(day for entry in stale for day in entry.days)
            span = f" ({days[0]} .. {days[-1]})" if days else ""
            show(f"{job}: {', '.join(entry.stage for entry in stale)}{span}")
            if days:
                dated = sum(bool(entry.days) for entry in stale)
                show(f"registering {(days[-1] - days[0]).days + 1} days of {dated} stages with Dagster")
            keys = [key for entry in stale for key in line.stages[entry.stage].keys]
            materialize(line, job, keys + _made_beside(line, job), days or [last])
            ran = True
    return ran


def materialize(
    line: Line, job: str, keys: Iterable[str], days: list[date], *, run_config: dict | None = None, must_pass: bool = True
) -> dg.ExecuteInProcessResult:
    """Materialize assets by key over the days from the first to the last of ``days``, in this process, as one run.

    Raises:
        CrossattnError: what the stage itself raised, or a blocking check that failed; or the home cannot be written to.
        KeyboardInterrupt: the user's, after Dagster recorded it.
    """
    check_writable(line.home)
    adopt_instance(line.home)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    definitions = build_defs(line.experiment, line.home.root, {"line": line})
    with warnings.catch_warnings(), dg.DagsterInstance.get() as instance:
        warnings.simplefilter("ignore")
        name_origin(instance, job)
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in dict.fromkeys(keys)],
            tags=(range_tags(days) if days else {}) | _NO_RETRY | {TRIGGER: COMMAND_LINE},
            run_config=(run_config or {}) | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    if _was_interrupted(result):
        raise KeyboardInterrupt
    if not result.success and (must_pass or not _only_checks_failed(result)):
        raise _cause(result)
    return result


def _runnable(line: Line, job: str, first: date, last: date) -> list[StaleStage]:
    stale = line.staleness.stale_stages(first, last, job)
    # The page shows the whole period: it is written when that is there, or as of a day by 'crossattn report --day'.
    return [entry for entry in stale if entry.stage != "backtest_report" or last == line.last_day]


def _made_beside(line: Line, job: str) -> list[str]:
    """Views and whole tables of a job. They cost little and are always made."""
    made = [stage for stage in line.stages if stage.sql and stage.rule is DayRule.ON_REQUEST and stage.job == job]
    return [key for stage in made for key in stage.keys]


def _only_checks_failed(result: dg.ExecuteInProcessResult) -> bool:
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return all(error is not None and error.cls_name == "DagsterAssetCheckFailedError" for error in failures)


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    errors += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__ for error in errors)


def _cause(result: dg.ExecuteInProcessResult) -> CrossattnError:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            text = (error.message if error is not None else str(failure)).strip().removeprefix(f"{CrossattnError.__module__}.")
            what = remedy(text)
            return CrossattnError(f"{event.step_key}: {text}" + (f"; {what}" if what else ""))
    failed = [
        f"{check.asset_key.to_user_string()}: {check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    return CrossattnError(
        f"a blocking check failed, what lies downstream was not run: {'; '.join(failed) or 'see the run in the web UI'}"
    )
