"""Two processes that claim a pool at the same moment, in the worst order that their statements can come in."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Engine, event

__all__ = ["POOL", "claim_at_once"]

POOL = "one_at_a_time"
_TABLES = ("concurrency_limits", "concurrency_slots", "pending_steps")
_SECONDS_FOR_THE_OTHER = 0.2


def claim_at_once(first: dg.DagsterInstance, second: dg.DagsterInstance) -> list[str]:
    """Runs that hold the pool after both have claimed it, each of them before its first write on what it had read.

    Args:
        first: an instance of limit 1 whose pool nobody used yet.
        second: the same one, opened again, as another process would.
    """
    with ThreadPoolExecutor(2) as pool, _each_write_waits_for_the_other():
        claims = {run: pool.submit(_claim, instance, run) for run, instance in {"one": first, "two": second}.items()}
        return [run for run, claimed in claims.items() if claimed.result()]


def _claim(instance: dg.DagsterInstance, run: str) -> bool:
    log = instance.event_log_storage
    if not any(limit.name == POOL for limit in log.get_pool_limits()):
        log.initialize_concurrency_limit_to_default(POOL)
    return log.claim_concurrency_slot(POOL, run, "step").is_claimed


@contextmanager
def _each_write_waits_for_the_other() -> Iterator[None]:
    """Each statement that writes to a pool's tables waits until the other thread is about to write as well, or a moment."""
    meeting = threading.Barrier(2)

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")) and any(table in statement for table in _TABLES):
            try:
                meeting.wait(_SECONDS_FOR_THE_OTHER)
            except threading.BrokenBarrierError:
                meeting.reset()

    event.listen(Engine, "before_cursor_execute", wait)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", wait)
