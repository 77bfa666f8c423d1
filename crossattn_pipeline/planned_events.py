"""One planned event an asset and run, with partition status read from it: what any of Dagster's SQL event logs can be given.

And one row a check and run, of a run over a range of days.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.base import PlannedMaterializationInfo

__all__ = ["PlansByRange"]


class PlansByRange(SqlEventLogStorage):
    """To be mixed in before a storage of Dagster's: a run plans an asset with one event that names its partitions.

    Dagster's own storages look for a planned event of the day itself, and would show a failed day as never tried.
    """

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        """Dagster plans an asset of a run with one event, whatever DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS says."""
        return True

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: dg.AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """Partitions planned and not materialized since, each with the run and the id of the event that planned it last."""
        attempts = dict(
            super().get_latest_asset_partition_materialization_attempts_without_materializations(asset_key, after_storage_id)
        )
        planned = {
            partition: (record.run_id, record.storage_id)
            for record in self._planned_by_range(asset_key, after_storage_id, ascending=True)
            for partition in _partitions(record).get_partition_keys()
        }
        if not planned:
            return attempts
        made = self.get_latest_storage_id_by_partition(
            asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=after_storage_id
        )
        for partition, (run_id, id_) in planned.items():
            _, id_of_other = attempts.get(partition, ("", 0))
            if id_ > max(id_of_other, made.get(partition, 0)):
                attempts[partition] = (run_id, id_)
        return attempts

    def get_latest_planned_materialization_info(
        self, asset_key: dg.AssetKey, partition: str | None = None
    ) -> PlannedMaterializationInfo | None:
        """The run that last planned an asset, or one partition of it."""
        latest = super().get_latest_planned_materialization_info(asset_key, partition)
        if partition is None:
            return latest
        for record in self._planned_by_range(asset_key, latest.storage_id if latest else None, ascending=False):
            if partition in _partitions(record):
                return PlannedMaterializationInfo(storage_id=record.storage_id, run_id=record.run_id)
        return latest

    def store_asset_check_event(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """The row of a planned or evaluated check.

        Over a range of days Dagster plans a check once a day and evaluates it once, without a day: its row of each day would say
        "planned" for good.
        """
        if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            event = _planned_once(event)
        super().store_asset_check_event(event, event_id)

    def _planned_by_range(self, asset_key: dg.AssetKey, after: int | None, *, ascending: bool) -> list[dg.EventLogRecord]:
        planned = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key, after_cursor=after)
        return [record for record in self.get_event_records(planned, ascending=ascending) if _partitions(record)]


def _partitions(record: dg.EventLogRecord) -> Any:
    return record.event_log_entry.get_dagster_event().partitions_subset


def _planned_once(event: dg.EventLogEntry) -> dg.EventLogEntry:
    """A check's planned event without its days where these are several."""
    stored = event.get_dagster_event()
    planned = stored.asset_check_planned_data
    if planned.partitions_subset is None or len(planned.partitions_subset) < 2:
        return event
    once = AssetCheckEvaluationPlanned(asset_key=planned.asset_key, check_name=planned.check_name)
    return event._replace(dagster_event=stored._replace(event_specific_data=once))
