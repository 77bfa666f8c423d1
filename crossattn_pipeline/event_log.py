"""Dagster's SQLite event log, with a run's events stored in batches and its databases kept open.

Named in dagster.yaml as ``event_log_storage``. Files, tables and ids are those of Dagster's own storage, so that either
opens a home of the other; what differs is how often a database is opened, committed to and asked for its columns.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, BATCH_WRITABLE_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, inspect

from crossattn_core.storage import locked
from crossattn_pipeline.planned_events import PlansByRange
from crossattn_pipeline.pool_claims import SerializedPools

__all__ = ["BatchedSqliteEventLogStorage"]

MAX_OPEN_RUNS = 8
"""Databases of runs kept open, the least recently used closed first: the web UI looks through those of many runs."""

_ENDINGS = {kind for kind, status in EVENT_TYPE_TO_PIPELINE_RUN_STATUS.items() if status in FINISHED_STATUSES}


class BatchedSqliteEventLogStorage(PlansByRange, SerializedPools, SqliteEventLogStorage):
    """``SqliteEventLogStorage`` for runs over ranges of partitions.

    A run plans an asset with one event (planned_events.py), a pool is claimed by one process at a time (pool_claims.py). A
    batch is one transaction in the run's database and one in the index.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._one_thread = threading.RLock()  # as in Dagster's; a batch holds the databases of the run and of the index
        self._tables: set[str] = set()
        self._pools_lock = Path(base_dir) / "pools.lock"
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of a dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    # ---- databases kept open

    @contextmanager
    def run_connection(self, run_id: str | None = None) -> Iterator[Connection]:
        """A transaction in the database of a run."""
        shard = run_id or ""
        with self._one_thread, self._engine(shard).begin() as connection:
            yield connection

    def index_connection(self) -> Any:
        """A transaction in the database of all runs."""
        return self.run_connection(INDEX_SHARD_NAME)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that is there stays."""
        if table_name not in self._tables:
            with self.index_connection() as connection:
                if not inspect(connection).has_table(table_name):
                    return False
            self._tables.add(table_name)
        return True

    def wipe(self) -> None:
        """Delete all events."""
        with self._one_thread:
            self._close(*self._engines)
            super().wipe()

    def log_files(self, run_id: str) -> list[Path]:
        """The files of a run's own database, which holds its log; none where that was dropped."""
        path = self.path_for_shard(run_id)
        return [file for suffix in ("", "-wal", "-shm") if (file := Path(f"{path}{suffix}")).is_file()]

    def drop_log(self, run_id: str) -> None:
        """Delete a run's own database; its events of assets and checks stay in the index. It is made anew, empty, when asked."""
        with self._one_thread:
            self._close(run_id)
            for file in self.log_files(run_id):
                file.unlink(missing_ok=True)

    def pools_locked(self) -> AbstractContextManager[None]:
        """A lock file beside the databases."""
        return locked(self._pools_lock)

    def dispose(self) -> None:
        """Close the databases."""
        super().dispose()
        with self._one_thread:
            self._close(*self._engines)

    def _engine(self, shard: str) -> Engine:
        if shard != INDEX_SHARD_NAME and not os.path.exists(self.path_for_shard(shard)):
            # New, or dropped by another process: Dagster would take a database that it made once for one that has its tables.
            self._initialized_dbs.discard(shard)
            self._close(shard)
        if shard not in self._engines:
            with super().run_connection(shard):
                pass  # Dagster makes the file and its tables where there are none
            url = self.conn_string_for_shard(shard)
            self._engines[shard] = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
        self._engines.move_to_end(shard)
        runs = [kept for kept in self._engines if kept != INDEX_SHARD_NAME]
        self._close(*runs[:-MAX_OPEN_RUNS])
        return self._engines[shard]

    def _close(self, *shards: str) -> None:
        for shard in shards:
            if shard in self._engines:
                self._engines.pop(shard).dispose()

    # ---- writing

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store one event."""
        super().store_event(event)
        self._tell_watchers(event.run_id)
        if event.dagster_event_type in _ENDINGS:
            # SQLite deletes the log of commits, megabytes beside each database, when the last connection closes.
            with self._one_thread:
                self._close(event.run_id)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events in their order; those of a run in one transaction of its database and one of the index."""
        if not all(event.is_dagster_event and event.dagster_event_type in BATCH_WRITABLE_EVENTS for event in events):
            super().store_event_batch(events)  # one by one; Dagster sends no such batch
            return
        for run_id, group in groupby(events, key=attrgetter("run_id")):
            self._store_batch_of_run(run_id, list(group))
            self._tell_watchers(run_id)

    def _store_batch_of_run(self, run_id: str, events: list[dg.EventLogEntry]) -> None:
        # One statement for any number of rows: a statement that holds its rows is compiled anew each time.
        insert, rows = SqlEventLogStorageTable.insert(), [self._event_to_row(event) for event in events]
        in_order = insert.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
        # The run's database commits first, as in Dagster's own storage: an asset is never ahead of its run's log.
        with self.index_connection() as index, self.run_connection(run_id) as run:
            run.execute(insert, rows)
            stored = list(zip(events, index.execute(in_order, rows).scalars(), strict=True))
            of_assets = [(event, id_) for event, id_ in stored if event.dagster_event_type in ASSET_EVENTS]
            self._store_asset_event_tags(index, [event for event, _ in of_assets], [id_ for _, id_ in of_assets])
            latest = {(event.dagster_event_type, event.get_dagster_event().asset_key): (event, id_) for event, id_ in of_assets}
            for event, id_ in sorted(latest.values(), key=lambda entry: entry[1]):
                self._store_asset_event(index, event, id_)
        for event, id_ in stored:
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, id_)

    def _tell_watchers(self, run_id: str) -> None:
        """Touch the database of a run: commits wait in the log beside it, and Dagster watches the file alone."""
        os.utime(self.path_for_shard(run_id))
