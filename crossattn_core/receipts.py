"""Receipts: for each stage and partition, what it was made from and what came out.

A partition is stale when it has no receipt, or when the receipt's inputs (code, settings, hashes of upstream
partitions) are not today's. One small SQLite file that any number of processes may read and write.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Receipts", "combined_hash"]


def combined_hash(*parts: str) -> str:
    """Sixteen hex digits over the parts, in order; None-free, separator-safe."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:16]


class Receipts:
    """The receipts of one home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.execute(
                "create table if not exists receipts ("
                "stage text, key text, inputs text not null, output text not null, primary key (stage, key)) without rowid"
            )

    def inputs(self, stage: str) -> dict[str, str]:
        """Key -> hash of what the partition was made from."""
        with self._open() as connection:
            return dict(connection.execute("select key, inputs from receipts where stage = ?", (stage,)).fetchall())

    def outputs(self, stage: str) -> dict[str, str]:
        """Key -> hash of what came out."""
        with self._open() as connection:
            return dict(connection.execute("select key, output from receipts where stage = ?", (stage,)).fetchall())

    def record(self, stage: str, rows: Iterable[tuple[str, str, str]]) -> None:
        """Store (key, inputs, output) rows, replacing earlier ones, in one transaction."""
        with self._open() as connection:
            connection.executemany("insert or replace into receipts values (?, ?, ?, ?)", [(stage, *row) for row in rows])

    def forget(self, stage: str) -> None:
        """Drop every receipt of a stage, so that all of it is stale."""
        with self._open() as connection:
            connection.execute("delete from receipts where stage = ?", (stage,))

    def stale(self, stage: str, expected: Mapping[str, str]) -> list[str]:
        """The keys of ``expected`` (key -> today's inputs) whose receipt is missing or different, in order."""
        stored = self.inputs(stage)
        return [key for key, inputs in expected.items() if stored.get(key) != inputs]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
