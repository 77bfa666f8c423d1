"""Dagster's Postgres event log with one planned event an asset and run; its batches are Dagster's own.

Named in dagster.yaml as ``event_log_storage``. Tables and rows are those of Dagster's storage, so that either opens a database of
the other.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config
from sqlalchemy import text

from crossattn_pipeline.planned_events import PlansByRange
from crossattn_pipeline.pool_claims import SerializedPools

__all__ = ["RangePostgresEventLogStorage"]

_POOLS = "hashtext('dagster pools')"
"""Number of the lock, among those of this database."""


class RangePostgresEventLogStorage(PlansByRange, SerializedPools, PostgresEventLogStorage):
    """``PostgresEventLogStorage`` for runs over ranges of partitions, with a connection that stays open.

    Dagster's own opens one for each statement, which the server answers with a new process.
    """

    def __init__(
        self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        self._engine.dispose()
        self._engine = create_pg_engine(
            postgres_url, None, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=20, pool_recycle=600, pool_pre_ping=True
        )

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of a dagster.yaml."""
        return cls(pg_url_from_config(config_value), config_value.get("should_autocreate_tables", True), inst_data)

    @contextmanager
    def pools_locked(self) -> Iterator[None]:
        """A lock of a session on the server, which the session's end frees."""
        with self.index_connection() as session:
            session.execute(text(f"select pg_advisory_lock({_POOLS})"))
            try:
                yield
            finally:
                session.execute(text(f"select pg_advisory_unlock({_POOLS})"))
