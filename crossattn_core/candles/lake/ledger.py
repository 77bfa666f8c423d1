"""The ledger of a lake: what was fetched, what came, what was refused, what the source revised.

One SQLite file that any number of processes may use at once. A day without a row was never fetched; a row with
``rows = 0`` was fetched and is empty. A Parquet file counts from the moment its row is committed.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from errno import EDQUOT, ENOSPC
from operator import attrgetter
from pathlib import Path

from crossattn_core.candles.feeds.feed import KEYS
from crossattn_core.errors import CandleError
from crossattn_core.universe import Kind

__all__ = ["Coverage", "Ledger", "coverage_rows", "iso", "put_coverage"]

_TABLES = """
create table if not exists coverage (
  kind text, asset_id text, venue text, day text, asked_until text not null, rows integer not null,
  expected integer not null, gaps integer not null, first text, last text, content_hash text not null,
  file text, sha256 text, version integer not null, attempts integer not null, fetched_at text not null,
  primary key (kind, asset_id, day)
) without rowid;
create index if not exists coverage_by_day on coverage (kind, venue, day);
create index if not exists coverage_by_content on coverage (kind, day, content_hash);
create table if not exists windows (
  kind text, asset_id text, first text, last text, request text, rows integer, requests integer, retries integer,
  fetched_at text
);
create table if not exists revisions (
  kind text, asset_id text, opened_at text, closed_at text, field text, first_value real, later_value real,
  first_fetched_at text, later_fetched_at text, adopted_at text,
  primary key (kind, asset_id, closed_at, field, later_value)
) without rowid;
create table if not exists quarantine (
  kind text, asset_id text, opened_at text, closed_at text, open real, high real, low real, close real, volume real,
  turnover real, reason text, detail text, fetched_at text, fingerprint text,
  primary key (kind, asset_id, closed_at, reason, fingerprint)
) without rowid;
create table if not exists rescales (
  number integer primary key, kind text, asset_id text, before text, factor real, applied_at text, undone_at text
);
create table if not exists rescaled_days (
  number integer, kind text, asset_id text, day text, primary key (kind, asset_id, day, number)
) without rowid;
"""


@dataclass(frozen=True)
class Coverage:
    """One asset's day in the ledger. Instants are naive UTC in ISO form; they sort as they read."""

    kind: Kind
    asset_id: str
    venue: str
    day: str
    asked_until: str
    """How far the newest request for the day reached: min(end of the day, the source's clock)."""
    rows: int = 0
    expected: int = 0
    gaps: int = 0
    first: str | None = None
    last: str | None = None
    content_hash: str = ""
    file: str | None = None
    sha256: str | None = None
    version: int = -1
    attempts: int = 0
    fetched_at: str = ""
    scale: float = 1.0
    """What prices of the file are multiplied by when they are read: the product of the rescales that cover the day."""

    @property
    def is_complete(self) -> bool:
        """Whether the day was over, by the source's clock, when it was last fetched."""
        return self.asked_until > self.day + "T23:59:59.999999"


_COVERAGE = tuple(field.name for field in fields(Coverage) if field.name != "scale")


class Ledger:
    """The ledger at one path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def version(self) -> bytes:
        """Differs after every commit: SQLite's own change counter; b'' for an absent ledger."""
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(24)
            return file.read(4)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries; an absent ledger reads like an empty one."""
        with _explained(self._path):
            yield from self._reading()

    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path if self._path.exists() else ":memory:", timeout=60)
        try:
            if not _has_tables(connection):
                # Never written, or its founder was killed before the first commit.
                connection.close()
                connection = sqlite3.connect(":memory:")
                connection.executescript(_TABLES)
            yield connection
        finally:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other writer overlaps; rolled back on any error.

        Raises:
            CandleError: the ledger is damaged, was deleted from beside its files, or cannot be written to.
        """
        with _explained(self._path):
            self._refuse_deleted()
            yield from self._writing()

    def _refuse_deleted(self) -> None:
        folder = self._path.parent
        if not self._path.exists() and any((folder / kind).is_dir() and any((folder / kind).iterdir()) for kind in KEYS):
            raise CandleError(
                f"{self._path}: the ledger is gone, and the files beside it count only by it; restore it from a copy, or move "
                f"the folder {folder} aside and fetch the candles again"
            )

    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            # Keeping the journal's file saves a third of a commit; its durability is the same.
            connection.execute("pragma journal_mode = persist")
            connection.execute("begin immediate")
            try:
                if not _has_tables(connection, "rescaled_days"):
                    for statement in _TABLES.split(";"):
                        connection.execute(statement)
                yield connection
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")
        finally:
            connection.close()

    def coverage(
        self, kind: Kind, first: date, last: date, *, venue: str | None = None, asset_id: str | None = None
    ) -> list[Coverage]:
        """The ledger's rows of the days first..last, by day and asset."""
        with self.reading() as connection:
            return coverage_rows(connection, kind, first, last, venue=venue, asset_id=asset_id)

    def has_rows(self, kind: Kind, asset_id: str) -> bool:
        """Whether anything of the asset was ever stored."""
        with self.reading() as connection:
            query = "select 1 from coverage where kind = ? and asset_id = ? and rows > 0 limit 1"
            return connection.execute(query, (kind, asset_id)).fetchone() is not None

    def nearest_file(self, kind: Kind, asset_id: str, first: date, last: date) -> tuple[Coverage, bool] | None:
        """The asset's newest day with a file before first..last, or else its oldest after; and whether it is before."""
        before = "day < ? order by day desc", first.isoformat(), True
        after = "day > ? order by day", last.isoformat(), False
        with self.reading() as connection:
            for where, day, is_before in (before, after):
                held = "kind = ? and asset_id = ? and file is not null"
                query = f"select {', '.join(_COVERAGE)} from coverage where {held} and {where} limit 1"
                found = connection.execute(query, (kind, asset_id, day)).fetchone()
                if found is not None:
                    return _scaled(connection, [Coverage(*found)])[0], is_before
        return None

    def twin(self, kind: Kind, asset_id: str, named: dict[date, str]) -> str | None:
        """Another asset that has every one of these days with this content (day -> content hash)."""
        query = "select asset_id from coverage where kind = ? and day = ? and content_hash = ? and asset_id <> ?"
        twins: set[str] | None = None
        with self.reading() as connection:
            for day, content_hash in named.items():
                found = {row[0] for row in connection.execute(query, (kind, day.isoformat(), content_hash, asset_id))}
                twins = found if twins is None else twins & found
        return min(twins) if twins else None

    def newest_version(self, kind: Kind, asset_id: str) -> str | None:
        """``Feed.version`` of the newest request for the asset; none where there was none, or no such name."""
        query = "select request from windows where kind = ? and asset_id = ? order by rowid desc limit 1"
        with self.reading() as connection:
            found = connection.execute(query, (kind, asset_id)).fetchone()
        return None if found is None else json.loads(found[0]).get("version")

    def rows(self, table: str, columns: Sequence[str], where: str, given: Sequence[object]) -> list[tuple]:
        """Rows of ``revisions``, ``quarantine``, ``windows`` or ``rescales``, ordered by every column."""
        if table not in ("revisions", "quarantine", "windows", "rescales"):
            raise ValueError(table)
        listed = ", ".join(columns)
        with self.reading() as connection:
            if not _has_tables(connection, table):
                return []  # of a version that did not have it
            return connection.execute(f"select {listed} from {table} where {where} order by {listed}", given).fetchall()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of the disk and of SQLite with what to do about them."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "readonly" in str(error) or "unable to open" in str(error):
            what = "cannot be written to; give this user the right to write the lake's folder"
        elif "full" in str(error) or "disk I/O" in str(error):
            what = "could not be written; free some space and run the same command again: what was stored is kept"
        elif "locked" in str(error):
            what = "is held by another process; run the same command again when that has ended"
        else:
            what = f"is damaged; restore it from a copy, or move the folder {path.parent} aside and fetch the candles again"
        raise CandleError(f"{path}: the ledger {what} ({error})") from error
    except OSError as error:
        what = "free some space" if error.errno in (ENOSPC, EDQUOT) else "give this user the right to write the lake's folder"
        raise CandleError(
            f"{error.filename or path}: the lake could not be written ({error.strerror}); {what} and run the same command again: "
            "what was stored is kept"
        ) from error


def _has_tables(connection: sqlite3.Connection, newest: str = "coverage") -> bool:
    return connection.execute("select 1 from sqlite_master where name = ?", (newest,)).fetchone() is not None


def _scaled(connection: sqlite3.Connection, rows: list[Coverage]) -> list[Coverage]:
    """The rows with their ``scale``: the factors that count, in the order in which they were applied."""
    if not rows:
        return rows
    span = min(row.day for row in rows), max(row.day for row in rows)
    query = (
        "select kind, asset_id, day, factor from rescaled_days join rescales using (number, kind, asset_id) "
        "where undone_at is null and day between ? and ? order by number"
    )
    scales: dict[tuple[str, str, str], float] = {}
    try:
        found = connection.execute(query, span)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return rows  # a ledger of a version that knew no rescales
        raise
    for *named, factor in found:
        scales[tuple(named)] = scales.get(tuple(named), 1.0) * factor
    if not scales:
        return rows
    return [replace(row, scale=scales.get((row.kind, row.asset_id, row.day), 1.0)) for row in rows]


def coverage_rows(
    connection: sqlite3.Connection,
    kind: Kind,
    first: date,
    last: date,
    *,
    venue: str | None = None,
    asset_id: str | None = None,
) -> list[Coverage]:
    """As ``Ledger.coverage``, inside a transaction."""
    query = f"select {', '.join(_COVERAGE)} from coverage where kind = ? and day between ? and ?"
    given: list[object] = [kind, first.isoformat(), last.isoformat()]
    if venue is not None:
        query, given = query + " and venue = ?", [*given, venue]
    if asset_id is not None:
        query, given = query + " and asset_id = ?", [*given, asset_id]
    rows = [Coverage(*row) for row in connection.execute(query + " order by day, asset_id", given)]
    return _scaled(connection, rows)


def put_coverage(connection: sqlite3.Connection, rows: Iterable[Coverage]) -> None:
    """Replace the ledger's rows of these asset days."""
    marks = ", ".join("?" * len(_COVERAGE))
    connection.executemany(f"insert or replace into coverage values ({marks})", map(attrgetter(*_COVERAGE), rows))


def iso(moment: datetime) -> str:
    """A naive instant as text that sorts as it reads.

    >>> iso(datetime(2025, 3, 1))
    '2025-03-01T00:00:00.000000'
    """
    return moment.isoformat(timespec="microseconds")
