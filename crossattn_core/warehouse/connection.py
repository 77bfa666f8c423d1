"""Opening the warehouse: one writer at a time, released whatever happens."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from crossattn_core.errors import WarehouseError

__all__ = ["connect", "transaction", "within"]


@contextmanager
def connect(
    path: Path,
    *,
    read_only: bool = False,
    timeout_seconds: float = 120.0,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the DuckDB file at ``path``; wait while another process holds it; close it on the way out.

    Args:
        read_only: readers still wait for a writer: DuckDB locks the whole file.
        timeout_seconds: longest wait for the lock.
        sleep, jitter: how to wait, and a number in [0, 1) that keeps waiters from knocking together.

    Raises:
        WarehouseError: the lock stayed taken, the file is damaged, or (read-only) it does not exist.
    """
    if read_only and not path.is_file():
        raise WarehouseError(f"{path}: no warehouse here yet; 'crossattn run' makes it")
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _opened(path, read_only, timeout_seconds, sleep, jitter)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    connection.execute("begin transaction")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def within(column: str, start: datetime, end: datetime) -> str:
    """SQL for ``column`` in (start, end], naive UTC."""
    return f"{column} > timestamp '{start}' and {column} <= timestamp '{end}'"


def _opened(
    path: Path, read_only: bool, timeout_seconds: float, sleep: Callable[[float], None], jitter: Callable[[], float]
) -> duckdb.DuckDBPyConnection:
    waited, pause = 0.0, 0.05
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise WarehouseError(f"{path}: cannot be opened: {error}") from error
            if waited >= timeout_seconds:
                raise WarehouseError(
                    f"{path}: another process has held the warehouse for {waited:.0f} s; "
                    f"wait for its run to end, or stop it ({error})"
                ) from error
        except duckdb.Error as error:
            raise WarehouseError(f"{path}: cannot be opened: {error}") from error
        step = pause * (0.5 + jitter())
        sleep(step)
        waited += step
        pause = min(pause * 2, 2.0)
