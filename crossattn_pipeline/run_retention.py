"""What Dagster need not keep for ever: runs, their logs, events that later ones replaced, pictures in them.

Dagster reads the state of an asset's days from its newest events, and deleting a run deletes its events. So a run stays on which
the state of any asset rests, with these events; its log and what its steps wrote may go before it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetEventTagsTable, SqlEventLogStorageTable
from sqlalchemy import ColumnElement, Select, and_, delete, func, not_, or_, select, update

from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.retention import Pruned, prune_home
from crossattn_pipeline.event_log import BatchedSqliteEventLogStorage
from crossattn_pipeline.schedules import PENDING

__all__ = ["prune", "prune_logs", "prune_runs"]

_ENDED = [status for status in dg.DagsterRunStatus if status not in PENDING]
_EVENT, _CHECK, _TAG = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, AssetEventTagsTable.c
_STATE = (dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value)
"""Events of which the newest of each asset and partition is its state."""
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
_OF_CHECKS = (dg.DagsterEventType.ASSET_CHECK_EVALUATION.value, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value)
_PICTURE = re.compile(r"!\[([^\]\"\\]*)\]\(data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+\)")
_KEPT_IN_LOGS = [kind.value for kind in (ASSET_EVENTS | ASSET_CHECK_EVENTS | EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys())]
"""Events that are more than a run's log: what assets and checks came to, and when the run began and ended."""
_ROWS = 500
"""Rows deleted in one transaction: the daemons wait for no longer one."""


def prune(
    instance: dg.DagsterInstance | None,
    home: Home,
    experiment: Experiment,
    last_day: date,
    *,
    now: datetime,
    dry_run: bool = False,
) -> list[Pruned]:
    """All of ``retention``: the home's own files, then Dagster's runs and logs.

    Args:
        instance: none where the home has no Dagster storage yet.
        last_day, now: as for ``retention.prune_home``.
    """
    settings = experiment.retention
    found = prune_home(home, experiment, last_day, now=now, dry_run=dry_run)
    if instance is not None and settings.run_days:
        found += prune_runs(instance, now - timedelta(days=settings.run_days), dry_run=dry_run)
    if instance is not None and settings.log_days:
        found += prune_logs(instance, now - timedelta(days=settings.log_days), dry_run=dry_run)
    return found


def prune_runs(instance: dg.DagsterInstance, before: datetime, *, dry_run: bool = False) -> list[Pruned]:
    """Delete runs that ended ``before`` and that no asset's state rests on, and of the others the events that were replaced."""
    storage = _storage(instance)
    held = _held(instance, storage)
    ended = [run.run_id for run in _ended(instance, before)]
    gone = [run_id for run_id in ended if run_id not in held]
    sizes = [_log_size(instance, run_id) + _events_size(storage, run_id) for run_id in gone]
    replaced = _delete_replaced(storage, [run_id for run_id in ended if run_id in held], before, dry_run=dry_run)
    replaced += _delete_checks(storage, before, dry_run=dry_run)
    for run_id in () if dry_run else gone:
        instance.delete_run(run_id)
        _drop_log(instance, run_id)
    return [Pruned("runs", len(gone), sum(sizes)), Pruned("replaced events", len(replaced), sum(replaced))]


def prune_logs(instance: dg.DagsterInstance, before: datetime, *, dry_run: bool = False) -> list[Pruned]:
    """Delete logs of runs that ended ``before``, and pictures in events that are no asset's newest."""
    storage, logs = _storage(instance), []
    for run in _ended(instance, before):
        size = _log_size(instance, run.run_id)
        if size:
            logs.append(size)
            if not dry_run:
                _drop_log(instance, run.run_id)
    pictures = list(_without_pictures(storage, before, dry_run=dry_run))
    return [Pruned("run logs", len(logs), sum(logs)), Pruned("pictures", len(pictures), sum(pictures))]


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), type(storage)
    return storage


def _ended(instance: dg.DagsterInstance, before: datetime) -> list[dg.DagsterRun]:
    records = instance.get_run_records(dg.RunsFilter(statuses=_ENDED))
    ended = [(record.dagster_run, record.end_time or record.update_timestamp.timestamp()) for record in records]
    return [run for run, at in ended if at < before.timestamp()]


def _held(instance: dg.DagsterInstance, storage: SqlEventLogStorage) -> set[str]:
    """Runs that hold the newest event of any asset's day, those that are under way, and the runs that these repeat."""
    with storage.index_connection() as connection:
        held = {run_id for (run_id,) in connection.execute(select(_EVENT.run_id).distinct().where(_EVENT.id.in_(_newest())))}
    open_ = instance.get_runs(dg.RunsFilter(statuses=PENDING))
    repeating = [*open_, *instance.get_runs(dg.RunsFilter(run_ids=sorted(held)))] if held else open_
    return held | {run.run_id for run in open_} | {run.root_run_id for run in repeating if run.root_run_id}


def _newest(*more: str) -> Select[tuple[int]]:
    """Ids of the newest event of each asset and partition, of those that are its state and of ``more`` types."""
    chosen = _EVENT.dagster_event_type.in_((*_STATE, *more))
    return select(func.max(_EVENT.id)).where(chosen).group_by(_EVENT.dagster_event_type, _EVENT.asset_key, _EVENT.partition)


def _delete_replaced(storage: SqlEventLogStorage, runs: Sequence[str], before: datetime, *, dry_run: bool) -> list[int]:
    """Bytes of each deleted event: of assets and checks, in the index, of ``runs``, that a later one replaced."""
    kept_checks = select(_CHECK.evaluation_event_storage_id).where(not_(_replaced_checks(before)))
    with storage.index_connection() as connection:
        kept = set(connection.execute(_newest(_PLANNED)).scalars())
        kept |= set(connection.execute(kept_checks).scalars())
    sizes: list[int] = []
    for run_id in runs:
        chosen = (_EVENT.run_id == run_id, _EVENT.dagster_event_type.in_((*_STATE, _PLANNED, *_OF_CHECKS)))
        with storage.index_connection() as connection:
            rows = connection.execute(select(_EVENT.id, func.length(_EVENT.event)).where(*chosen)).fetchall()
        replaced = [(event_id, size) for event_id, size in rows if event_id not in kept]
        for ids in [] if dry_run else _chunks([event_id for event_id, _ in replaced]):
            with storage.index_connection() as connection:
                connection.execute(delete(AssetEventTagsTable).where(_TAG.event_id.in_(ids)))
                connection.execute(delete(SqlEventLogStorageTable).where(_EVENT.id.in_(ids)))
        sizes += [size for _, size in replaced]
    return sizes


def _delete_checks(storage: SqlEventLogStorage, before: datetime, *, dry_run: bool) -> list[int]:
    """Bytes of each deleted execution of a check: of before, where a later one replaced it."""
    size = func.coalesce(func.length(_CHECK.evaluation_event), 0)
    with storage.index_connection() as connection:
        rows = connection.execute(select(_CHECK.id, size).where(_replaced_checks(before))).fetchall()
    for ids in [] if dry_run else _chunks([row[0] for row in rows]):
        with storage.index_connection() as connection:
            connection.execute(delete(AssetCheckExecutionsTable).where(_CHECK.id.in_(ids)))
    return [row[1] for row in rows]


def _replaced_checks(before: datetime) -> ColumnElement[bool]:
    newest = select(func.max(_CHECK.id)).group_by(_CHECK.asset_key, _CHECK.check_name, _CHECK.partition)
    return and_(_CHECK.create_timestamp < _naive(before), _CHECK.id.not_in(newest))


def _without_pictures(storage: SqlEventLogStorage, before: datetime, *, dry_run: bool) -> Iterator[int]:
    """Bytes of the pictures that were taken out of each event."""
    newest = select(func.max(_EVENT.id)).where(_EVENT.dagster_event_type.in_(_STATE)).group_by(_EVENT.asset_key)
    chosen = (_EVENT.dagster_event_type.in_(_STATE), _EVENT.event.like("%data:image%"), _EVENT.id.not_in(newest))
    with storage.index_connection() as connection:
        ids = connection.execute(select(_EVENT.id).where(*chosen, _EVENT.timestamp < _naive(before))).scalars().all()
    for event_id in ids:
        with storage.index_connection() as connection:
            event = str(connection.execute(select(_EVENT.event).where(_EVENT.id == event_id)).scalar() or "")
            without = _PICTURE.sub(r"\1: no longer kept (retention.log_days)", event)
            if event and not dry_run:
                connection.execute(update(SqlEventLogStorageTable).where(_EVENT.id == event_id).values(event=without))
        if len(without) < len(event):
            yield len(event) - len(without)


def _drop_log(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = _storage(instance)
    if isinstance(storage, BatchedSqliteEventLogStorage):
        storage.drop_log(run_id)
    else:
        with storage.run_connection(run_id) as connection:
            connection.execute(delete(SqlEventLogStorageTable).where(*_log_rows(run_id)))
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _log_size(instance: dg.DagsterInstance, run_id: str) -> int:
    """Bytes of a run's log, and of what its steps wrote where these are files."""
    storage, folder = _storage(instance), getattr(instance.compute_log_manager, "_base_dir", None)
    written = [file for file in (Path(folder) / run_id).rglob("*") if file.is_file()] if folder else []
    if isinstance(storage, BatchedSqliteEventLogStorage):
        return _size([*storage.log_files(run_id), *written])
    with storage.run_connection(run_id) as connection:
        size = connection.execute(select(func.sum(func.length(_EVENT.event))).where(*_log_rows(run_id))).scalar()
    return int(size or 0) + _size(written)


def _log_rows(run_id: str) -> tuple[ColumnElement[bool], ...]:
    kind = _EVENT.dagster_event_type
    return (_EVENT.run_id == run_id, or_(kind.is_(None), kind.not_in(_KEPT_IN_LOGS)))


def _events_size(storage: SqlEventLogStorage, run_id: str) -> int:
    with storage.index_connection() as connection:
        size = connection.execute(select(func.sum(func.length(_EVENT.event))).where(_EVENT.run_id == run_id)).scalar()
    return int(size or 0)


def _size(files: Iterable[Path]) -> int:
    # SQLite's -shm is an index that comes and goes with whoever has the file open.
    return sum(file.stat().st_size for file in files if not file.name.endswith("-shm"))


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), _ROWS):
        yield ids[start : start + _ROWS]


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
