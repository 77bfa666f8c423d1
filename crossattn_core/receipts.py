"""Receipts: for each stage and partition, what it was made from and what came out.

A receipt names the code that ran, the knobs and the inputs, each by hash; what was hashed of code and knobs is kept beside it, so
that a difference can be shown in words. ``accept_code`` records that two versions of a stage's code give the same results.
One small SQLite file that any number of processes may read and write.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["AcceptedCode", "MadeFrom", "Receipt", "Receipts", "combined_hash", "hash_of_values"]


def combined_hash(*parts: str) -> str:
    """Sixteen hex digits over the parts, in order; None-free, separator-safe."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:16]


def hash_of_values(values: Mapping[str, Any]) -> str:
    """Sixteen hex digits over a mapping of plain values."""
    return combined_hash(_canonical(values))


@dataclass(frozen=True)
class MadeFrom:
    """What a partition is made from, as hashes."""

    code: str
    knobs: str
    inputs: str


@dataclass(frozen=True)
class Receipt:
    """What a partition was made from, and the hash of what came out."""

    made_from: MadeFrom
    output: str


@dataclass(frozen=True)
class AcceptedCode:
    """A person's statement that two versions of a stage's code give the same results."""

    stage: str
    code: str
    same_as: str
    at: datetime
    """Aware UTC."""
    note: str


_TABLES = """
create table if not exists receipt (
    stage text, key text, code text not null, knobs text not null, inputs text not null, output text not null,
    primary key (stage, key)) without rowid;
create table if not exists content (hash text primary key, "values" text not null) without rowid;
create table if not exists accepted_code (
    stage text, code text, same_as text, at text not null, note text not null, primary key (stage, code, same_as)) without rowid;
"""


class Receipts:
    """The receipts of one home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(_TABLES)

    def of_stage(self, stage: str) -> dict[str, Receipt]:
        """Key -> receipt."""
        with self._open() as connection:
            rows = connection.execute("select key, code, knobs, inputs, output from receipt where stage = ?", (stage,)).fetchall()
        return {key: Receipt(MadeFrom(code, knobs, inputs), output) for key, code, knobs, inputs, output in rows}

    def codeless(self, stage: str) -> frozenset[str]:
        """The keys of a stage that a version before receipts named code has made, whatever was made since."""
        with self._open() as connection:
            if not connection.execute("select 1 from sqlite_master where name = 'receipts'").fetchone():
                return frozenset()
            return frozenset(key for (key,) in connection.execute("select key from receipts where stage = ?", (stage,)))

    def outputs(self, stage: str) -> dict[str, str]:
        """Key -> hash of what came out."""
        return {key: receipt.output for key, receipt in self.of_stage(stage).items()}

    def record(self, stage: str, rows: Iterable[tuple[str, MadeFrom, str]], contents: Iterable[Mapping[str, Any]] = ()) -> None:
        """Store (key, made from, output) rows, replacing earlier ones, in one transaction.

        Args:
            contents: what was hashed to the code and the knobs of these rows.
        """
        hashed = [(hash_of_values(values), _canonical(values)) for values in contents]
        with self._open() as connection:
            connection.executemany("insert or ignore into content values (?, ?)", hashed)
            connection.executemany(
                "insert or replace into receipt values (?, ?, ?, ?, ?, ?)",
                [(stage, key, made.code, made.knobs, made.inputs, output) for key, made, output in rows],
            )

    def forget(self, stage: str, keys: Iterable[str] | None = None) -> None:
        """Drop the receipts of a stage (of its partitions ``keys``), so that all of that is stale."""
        with self._open() as connection:
            if keys is None:
                connection.execute("delete from receipt where stage = ?", (stage,))
            else:
                connection.executemany("delete from receipt where stage = ? and key = ?", [(stage, key) for key in keys])

    def content(self, hash_of_content: str) -> dict[str, Any] | None:
        """The code or knobs that have this hash; none where that was not recorded."""
        with self._open() as connection:
            found = connection.execute('select "values" from content where hash = ?', (hash_of_content,)).fetchone()
        return None if found is None else json.loads(found[0])

    def accept_code(self, accepted: AcceptedCode) -> None:
        """Record that two versions of a stage's code give the same results."""
        row = (accepted.stage, accepted.code, accepted.same_as, accepted.at.isoformat(), accepted.note)
        with self._open() as connection:
            connection.execute("insert or replace into accepted_code values (?, ?, ?, ?, ?)", row)

    def accepted(self, stage: str) -> list[AcceptedCode]:
        """What was accepted for a stage, oldest first."""
        with self._open() as connection:
            rows = connection.execute("select * from accepted_code where stage = ? order by at, code", (stage,)).fetchall()
        return [AcceptedCode(stage, code, same_as, datetime.fromisoformat(at), note) for stage, code, same_as, at, note in rows]

    def codes_like(self, stage: str, code: str) -> frozenset[str]:
        """``code`` and every version that was accepted as giving the same results, directly or through others."""
        pairs = [(row.code, row.same_as) for row in self.accepted(stage)]
        alike = {code}
        while grown := {other for pair in pairs if alike & set(pair) for other in pair} - alike:
            alike |= grown
        return frozenset(alike)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
