"""Pools that are claimed by one process at a time: what any of Dagster's SQL event logs can be given.

Dagster reads a free slot and takes it in two statements. SQLite ignores the row lock that the first one asks for, and a
connection that commits each statement, as Dagster's to PostgreSQL do, gives it back before the second: two processes that
claim at once can both be told that they hold a slot of a pool of one.
"""

from abc import abstractmethod
from contextlib import AbstractContextManager

from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._utils.concurrency import ConcurrencyClaimStatus

__all__ = ["SerializedPools"]


class SerializedPools(SqlEventLogStorage):
    """To be mixed in before a storage of Dagster's: whatever changes who holds a pool's slots, or waits for one, holds a lock."""

    @abstractmethod
    def pools_locked(self) -> AbstractContextManager[None]:
        """A lock on the pools of the instance, among all of its processes and threads; the end of a process frees it."""

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        """Claim a slot for a step, or let it wait for one."""
        with self.pools_locked():
            return super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)

    def free_concurrency_slot_for_step(self, run_id: str, step_key: str) -> None:
        """Free the slot of a step, for the one that waits longest."""
        with self.pools_locked():
            super().free_concurrency_slot_for_step(run_id, step_key)

    def free_concurrency_slots_for_run(self, run_id: str) -> None:
        """Free the slots of all steps of a run."""
        with self.pools_locked():
            super().free_concurrency_slots_for_run(run_id)

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Make the slots of a pool that was never used, as many as the instance's default limit.

        Whoever asks saw none. Another may have made them since: then Dagster's insert breaks a PostgreSQL transaction.
        """
        with self.pools_locked():
            limit = {pool.name: pool.limit for pool in self.get_pool_limits()}.get(concurrency_key)
            if limit is not None and limit == self.get_pool_config().default_pool_limit:
                return True
            return super().initialize_concurrency_limit_to_default(concurrency_key)

    def set_concurrency_slots(self, concurrency_key: str, num: int) -> None:
        """Set a pool's limit."""
        with self.pools_locked():
            super().set_concurrency_slots(concurrency_key, num)

    def delete_concurrency_limit(self, concurrency_key: str) -> None:
        """Delete a pool's limit and its slots."""
        with self.pools_locked():
            super().delete_concurrency_limit(concurrency_key)
