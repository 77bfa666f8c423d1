"""Running the graph from the command line: what is stale, as one recorded run on the shared instance."""

import logging
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import dagster as dg

from crossattn_core.errors import CrossattnError
from crossattn_core.line import Line
from crossattn_core.staleness import WHOLE_STAGES
from crossattn_core.warehouse.results import reads_results
from crossattn_pipeline.definitions import build_defs
from crossattn_pipeline.instance import adopt_instance
from crossattn_pipeline.partitions import range_tags

__all__ = ["Stale", "find_stale", "materialize", "materialize_stale"]

MODEL_STAGES = ("walk_forward", "attention_snapshot", *WHOLE_STAGES)

_NO_RETRY = {"dagster/max_retries": "0"}
"""Somebody waits for this run and reads its message: the daemon must not launch it again behind their back."""

_OUTPUTS = {"walk_forward": ("retrain_plan", "rolling_model", "forecasts")}


@dataclass(frozen=True)
class Stale:
    """A stage that has to run, and from which day on (none: as a whole)."""

    stage: str
    days: list[date]


def find_stale(line: Line, first: date, last: date) -> list[Stale]:
    """Stages with stale partitions in the range, in order; empty when everything is up to date.

    Views are made with the tables that read them and are not listed.
    """
    staleness = line.staleness
    tables = [model.name for model in line.project if model.is_stored_by_day]
    found = []
    for stage in (*line.experiment.candle_stages, *tables, "feature_windows", "walk_forward", "attention_snapshot"):
        days = [day for day in staleness.stale_days(stage, last) if day >= first]
        if days:
            found.append(Stale(stage, days))
    return found + [Stale(stage, []) for stage in WHOLE_STAGES if staleness.is_stale(stage)]


def materialize_stale(line: Line, first: date, last: date, tell: Callable[[str], None]) -> bool:
    """Run what is stale, upstream first; True when something ran.

    Staleness is looked at again after the data half: an unchanged panel needs no new models.

    Raises:
        CrossattnError: a stage failed; what was made before stays.
    """
    ran = False
    for half, names in (("data", None), ("models", set(MODEL_STAGES))):
        stale = [entry for entry in find_stale(line, first, last) if (entry.stage in MODEL_STAGES) == (names is not None)]
        if last < line.last_day:
            # The page tells the whole period: it is written when that is there, or as of a day by 'crossattn report --as-of'.
            stale = [entry for entry in stale if entry.stage != "backtest_report"]
        if not stale:
            continue
        days = sorted(day for entry in stale for day in entry.days)
        span = f" ({days[0]} .. {days[-1]})" if days else ""
        tell(f"{half}: {', '.join(entry.stage for entry in stale)}{span}")
        if days:
            dated = sum(bool(entry.days) for entry in stale)
            tell(f"registering {(days[-1] - days[0]).days + 1} days of {dated} stages with Dagster")
        keys = [key for entry in stale for key in _keys(line, entry.stage)]
        keys += _beside(line, half)
        materialize(line, half, keys, days or [last])
        ran = True
    return ran


def materialize(
    line: Line, job: str, keys: Iterable[str], days: list[date], *, run_config: dict | None = None, must_pass: bool = True
) -> dg.ExecuteInProcessResult:
    """Materialize assets by key over the days from the first to the last of ``days``, in this process, as one run.

    Raises:
        CrossattnError: what the stage itself raised, or a blocking check that failed.
    """
    adopt_instance(line.home)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    definitions = build_defs(line.experiment, line.home.root, {"line": line})
    with warnings.catch_warnings(), dg.DagsterInstance.get() as instance:
        warnings.simplefilter("ignore")
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in dict.fromkeys(keys)],
            tags=(range_tags(days) if days else {}) | _NO_RETRY,
            run_config=(run_config or {}) | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    if not result.success and (must_pass or not _only_checks_failed(result)):
        raise _cause(result)
    return result


def _beside(line: Line, half: str) -> list[str]:
    """Views and whole tables of a half: before the panel, or made from results. They cost little and are always made."""
    whole = [name for name in line.project.models if not line.project.model(name).is_stored_by_day]
    return [name.replace(".", "/") for name in whole if reads_results(line.project, name) == (half == "models")]


def _keys(line: Line, stage: str) -> tuple[str, ...]:
    return _OUTPUTS.get(stage, (stage.replace(".", "/") if stage in line.project.models else stage,))


def _only_checks_failed(result: dg.ExecuteInProcessResult) -> bool:
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return all(error is not None and error.cls_name == "DagsterAssetCheckFailedError" for error in failures)


def _cause(result: dg.ExecuteInProcessResult) -> CrossattnError:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            text = (error.message if error is not None else str(failure)).strip()
            return CrossattnError(f"{event.step_key}: {text}")
    failed = [
        f"{check.asset_key.to_user_string()}: {check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    return CrossattnError(
        f"a blocking check failed, what lies downstream was not run: {'; '.join(failed) or 'see the run in the web UI'}"
    )
