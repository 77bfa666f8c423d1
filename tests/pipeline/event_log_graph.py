"""A graph without a line, and instances over Dagster's own storage and ours, for tests of the event log."""

import time
from pathlib import Path

import dagster as dg
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from crossattn_pipeline.event_log import BatchedSqliteEventLogStorage

STORAGES = {"stock": SqliteEventLogStorage, "batched": BatchedSqliteEventLogStorage}
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DATED, WHOLE, FRAGILE = dg.AssetKey("dated"), dg.AssetKey("whole"), dg.AssetKey("fragile")


def instance_at(folder: Path, storage: str) -> dg.DagsterInstance:
    """An instance whose databases lie in ``folder``."""
    folder.mkdir(exist_ok=True)
    made = STORAGES[storage]
    lines = ["telemetry: {enabled: false}"]
    for name, module, class_, base in (
        ("run_storage", "dagster._core.storage.runs", "SqliteRunStorage", "history"),
        ("event_log_storage", made.__module__, made.__name__, "history/runs"),
        ("schedule_storage", "dagster._core.storage.schedules", "SqliteScheduleStorage", "schedules"),
    ):
        lines.append(f"{name}: {{module: {module}, class: {class_}, config: {{base_dir: {folder / base}}}}}")
    (folder / "dagster.yaml").write_text("\n".join(lines), encoding="utf-8")
    return dg.DagsterInstance.from_config(str(folder))


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), code_version="1")
def dated(context: dg.AssetExecutionContext) -> None:
    for day in context.partition_keys:
        context.add_asset_metadata({"day": day}, partition_key=day)


@dg.asset_check(asset=dated)
def dated_is_right() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(deps=[dated])
def whole() -> None: ...


class Fragility(dg.Config):
    made: int = 0
    fails: bool = False


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[dated])
def fragile(context: dg.AssetExecutionContext, config: Fragility) -> dg.MaterializeResult:
    """Reports the first ``made`` of its days by itself, then fails, or makes them all."""
    for day in context.partition_keys[: config.made]:
        context.log_event(dg.AssetMaterialization(FRAGILE, partition=day))
    if config.fails:
        raise dg.Failure("it broke")
    return dg.MaterializeResult()


def definitions() -> dg.Definitions:
    job = dg.define_asset_job("all_of_it", "*")
    return dg.Definitions([dated, whole, fragile], asset_checks=[dated_is_right], jobs=[job], executor=dg.in_process_executor)


def days_tags(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run_days(instance: dg.DagsterInstance, first: str, last: str, *, made: int = 0, fails: bool = False) -> str:
    """Run the graph over a range of days, and return the run's id."""
    job = definitions().resolve_job_def("all_of_it")
    config = SILENT | {"ops": {"fragile": {"config": {"made": made, "fails": fails}}}}
    done = job.execute_in_process(instance=instance, tags=days_tags(first, last), run_config=config, raise_on_error=False)
    assert done.success is not fails
    return done.run_id


def materialization(run_id: str, day: str) -> dg.EventLogEntry:
    """One day of ``dated``, as a run would record it."""
    data = StepMaterializationData(dg.AssetMaterialization(DATED, partition=day, tags={"dagster/data_version": day}))
    made = dg.DagsterEventType.ASSET_MATERIALIZATION.value
    event = dg.DagsterEvent(made, "all_of_it", event_specific_data=data, step_key="dated")
    return dg.EventLogEntry(
        error_info=None, level=10, user_message="", run_id=run_id, timestamp=time.time(), step_key="dated", dagster_event=event
    )


def statuses(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict[str, set[str]]:
    """Days by what the web UI shows of them."""
    found = get_and_update_asset_status_cache_value(instance, asset, DAYS)
    assert found is not None
    return {
        "materialized": set(found.deserialize_materialized_partition_subsets(DAYS).get_partition_keys()),
        "failed": set(found.deserialize_failed_partition_subsets(DAYS).get_partition_keys()),
        "in progress": set(found.deserialize_in_progress_partition_subsets(DAYS).get_partition_keys()),
    }
