"""The lake: raw candles, funding and dividends as one Parquet file per asset and day, with a ledger beside them.

    <root>/<feed>/candles/<venue>/<category>/<symbol>/2025-03-01.parquet
    <root>/<feed>/funding/<venue>/<category>/<symbol>/2025-03-01.parquet
    <root>/<feed>/dividends/<venue>/<category>/<symbol>/2025-03-10.parquet
    <root>/<feed>/ledger.sqlite     what was fetched, stored, refused and revised
    <root>/<feed>/compact/          month files that make long reads fast: a cache, safe to delete
    <root>/<feed>/truth.json        a simulated market's planted truth

Candles of another length than an hour lie in a lake of their own, ``<root>/<feed>_<bar>/``, for instance ``api_5m``.

Files are only ever added: a day that gains candles gets a new file (``2025-03-01.1.parquet``) and the ledger
points to it. The first closed value stored is the one that history uses; a later different one is a revision,
kept next to it. Nothing is filled, shifted or made up.
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossattn_core.candles.lake.day_files import DAYS_WORTH_A_CACHE, SCHEMAS, compacted, read_day_files
from crossattn_core.candles.lake.ledger import Coverage, Ledger, iso
from crossattn_core.days import bounds, days_between
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import read_json, sha256_of, write_json
from crossattn_core.universe import Kind

__all__ = ["COVERAGE_SCHEMA", "QUARANTINE_SCHEMA", "REVISION_SCHEMA", "Lake"]

_INSTANT = pa.timestamp("us")

REVISION_SCHEMA = pa.schema(
    [
        ("asset_id", pa.string()),
        ("opened_at", _INSTANT),
        ("closed_at", _INSTANT),
        ("field", pa.string()),
        ("first_value", pa.float64()),
        ("later_value", pa.float64()),
        ("first_fetched_at", _INSTANT),
        ("later_fetched_at", _INSTANT),
        ("adopted_at", _INSTANT),
    ]
)
"""One row a changed field: history uses ``first_value`` unless ``adopted_at`` is set."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("asset_id", pa.string()),
        ("opened_at", _INSTANT),
        ("closed_at", _INSTANT),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume", "turnover")),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("fetched_at", _INSTANT),
    ]
)
"""One row a refused candle and reason."""

COVERAGE_SCHEMA = pa.schema(
    [
        ("asset_id", pa.string()),
        ("venue", pa.string()),
        ("day", pa.date32()),
        ("asked_until", _INSTANT),
        ("rows", pa.int64()),
        ("expected", pa.int64()),
        ("gaps", pa.int64()),
        ("first", _INSTANT),
        ("last", _INSTANT),
        ("content_hash", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("attempts", pa.int64()),
        ("fetched_at", _INSTANT),
    ]
)
"""One row an asset and day that was fetched."""


class Lake:
    """The candles of one feed and length under ``root``. Reading needs no lock; writers take turns at the ledger.

    Args:
        root: the folder of every lake of a home.
        feed: ``feed.kind``.
        grid: every candle is one bar of it long.
    """

    def __init__(self, root: Path, feed: str, grid: Grid = HOURLY) -> None:
        self.grid = grid
        self.folder = root / (feed if grid == HOURLY else f"{feed}_{grid.bar}")
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        self._hashed_at = b""
        self._hashes: dict[tuple[str, date, date, Kind], dict[date, str]] = {}

    # Reading

    def read_candles(self, venue: str | None, first: date, last: date) -> pa.Table:
        """First closed values with closed_at in the days first..last, by asset and closed_at.

        Args:
            venue: one venue, or none for all.

        Raises:
            CandleError: a file that the ledger names is missing or damaged.
        """
        return self._read("candles", venue, first, last)

    def read_funding(self, first: date, last: date) -> pa.Table:
        """Settlements of the days first..last, by asset and settled_at."""
        return self._read("funding", None, first, last)

    def read_dividends(self, first: date, last: date) -> pa.Table:
        """Dividends of the days first..last, by asset and ex_at."""
        return self._read("dividends", None, first, last)

    def read_revisions(self, first: date, last: date, *, venue: str | None = None, kind: Kind = "candles") -> pa.Table:
        """Values that the source changed after they were stored (``REVISION_SCHEMA``)."""
        return self._events("revisions", REVISION_SCHEMA, kind, venue, first, last)

    def read_quarantine(self, first: date, last: date, *, venue: str | None = None, kind: Kind = "candles") -> pa.Table:
        """Candles that were refused, with the reason (``QUARANTINE_SCHEMA``)."""
        return self._events("quarantine", QUARANTINE_SCHEMA, kind, venue, first, last)

    def read_coverage(self, first: date, last: date, *, venue: str | None = None, kind: Kind = "candles") -> pa.Table:
        """What the ledger knows of each asset and day (``COVERAGE_SCHEMA``)."""
        rows = self.ledger.coverage(kind, first, last, venue=venue)
        return _typed({name: [getattr(row, name) for row in rows] for name in COVERAGE_SCHEMA.names}, COVERAGE_SCHEMA)

    # Hashes

    def day_hashes(self, venue: str, first: date, last: date, *, kind: Kind = "candles") -> dict[date, str]:
        """Day -> a name of its candles of every asset of the venue, whenever fetched; '' when never fetched.

        In one query; remembered until the ledger changes.
        """
        version, span = self.ledger.version, (venue, first, last, kind)
        if version != self._hashed_at:
            self._hashed_at, self._hashes = version, {}
        if span not in self._hashes:
            self._hashes[span] = self._hash_days(*span)
        return dict(self._hashes[span])

    def _hash_days(self, venue: str, first: date, last: date, kind: Kind) -> dict[date, str]:
        found: dict[str, list[str]] = {}
        for row in self.ledger.coverage(kind, first, last, venue=venue):
            found.setdefault(row.day, []).extend((row.asset_id, row.content_hash))
        hashed = {day: combined_hash(*parts) for day, parts in found.items()}
        return {day: hashed.get(day.isoformat(), "") for day in days_between(first, last)}

    # Upkeep

    def store_truth(self, truth: dict[str, object]) -> None:
        """Write a simulated market's truth beside its candles; one that reaches further is left as it is."""
        if self._reaches_further(truth):
            with self.ledger.writing():  # the turn of a writer: a shorter truth must not follow a longer one
                if self._reaches_further(truth):
                    write_json(self.folder / "truth.json", truth)

    def _reaches_further(self, truth: dict[str, object]) -> bool:
        """Whether ``truth`` says more than what is stored, or is of another market."""
        known = self.read_truth()
        return known is None or known.get("until", "") < truth["until"] or known.get("settings") != truth["settings"]

    def read_truth(self) -> dict[str, Any] | None:
        """The planted truth of a simulated market; none for other feeds."""
        path = self.folder / "truth.json"
        return read_json(path, "delete it, the next fetch writes it again") if path.exists() else None

    def verify(self) -> list[str]:
        """Every file that the ledger names and that is missing or not what was written."""
        faults: list[str] = []
        for kind in SCHEMAS:
            for row in self.ledger.coverage(kind, date.min, date.max):
                if row.file is None:
                    continue
                path = self.folder / row.file
                if not path.is_file():
                    faults.append(f"{path}: missing; {row.asset_id} {row.day} has {row.rows} rows in the ledger")
                elif sha256_of(path.read_bytes()) != row.sha256:
                    faults.append(f"{path}: not the bytes that were written ({row.asset_id} {row.day})")
        return faults

    def write_manifest(self) -> Path:
        """Every stored file with its sha256, and every request with its parameters, as JSON."""
        files = {
            row.file: {"rows": row.rows, "sha256": row.sha256}
            for kind in SCHEMAS
            for row in self.ledger.coverage(kind, date.min, date.max)
            if row.file is not None
        }
        columns = ("kind", "asset_id", "first", "last", "request", "rows", "requests", "retries", "fetched_at")
        requests = [dict(zip(columns, row, strict=True)) for row in self.ledger.rows("windows", columns, "1 = 1", ())]
        return write_json(self.folder / "manifest.json", {"files": files, "requests": requests})

    # Inside

    def _read(self, kind: Kind, venue: str | None, first: date, last: date) -> pa.Table:
        schema = SCHEMAS[kind]
        months: dict[tuple[str, str], list[Coverage]] = {}
        for row in self.ledger.coverage(kind, first.replace(day=1), _month_end(last), venue=venue):
            if row.file is not None:
                months.setdefault((row.asset_id, row.day[:7]), []).append(row)
        tables = []
        for (_, month), days in sorted(months.items()):
            inside = [row for row in days if first.isoformat() <= row.day <= last.isoformat()]
            if len(inside) < DAYS_WORTH_A_CACHE:
                tables.append(read_day_files(self.folder, inside, schema))
            else:
                tables.append(compacted(self.folder, kind, month, days, schema, (first, last)))
        return pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()

    def _events(self, table: str, schema: pa.Schema, kind: Kind, venue: str | None, first: date, last: date) -> pa.Table:
        # The colon ends the venue's name: another one may begin with it.
        where = "kind = ? and closed_at > ? and closed_at <= ? and instr(asset_id, ?) = 1"
        given = (kind, iso(bounds(first)[0]), iso(bounds(last)[1]), f"{venue}:" if venue else "")
        rows = self.ledger.rows(table, schema.names, where, given)
        return _typed({name: [row[place] for row in rows] for place, name in enumerate(schema.names)}, schema)


def _month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _typed(columns: dict[str, list], schema: pa.Schema) -> pa.Table:
    """Ledger values (ISO text, numbers) as an Arrow table."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        if pa.types.is_timestamp(field.type):
            values = [None if value is None else datetime.fromisoformat(value) for value in values]
        elif pa.types.is_date(field.type):
            values = [date.fromisoformat(value) for value in values]
        arrays.append(pa.array(values, type=field.type))
    return pa.table(arrays, schema=schema)
