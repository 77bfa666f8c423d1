"""Bringing an asset's stored history to another scale: a dated act in the ledger that can be undone to the bit.

For a split, a redenomination or another unit that the source has adjusted for backwards, also where the source no longer gives
the old days. Files keep the first values; reads multiply prices and dividends by the factor and divide volume by it. Turnover
stays as it is. Revisions are kept on the scale of the files.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from math import isfinite

from crossattn_core.candles.lake.day_files import SCHEMAS, content_hash, read_day_files
from crossattn_core.candles.lake.ledger import coverage_rows, iso, put_coverage
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError
from crossattn_core.universe import Asset, Kind

__all__ = ["rescale_history"]

_KINDS: tuple[Kind, ...] = ("candles", "dividends")
"""On the scale of the prices; funding rates are fractions of notional and are on none."""


def rescale_history(lake: Lake, asset: Asset, factor: float | None, before: date, at: datetime, *, undo: bool = False) -> int:
    """Multiply the asset's prices of every stored day before ``before`` by ``factor`` from now on; returns the days.

    The days' hashes change, so everything made from them becomes stale; days that lack candles are fetched again.

    Args:
        factor: new price over old: 0.25 after a split of 4 for 1. With ``undo`` it may be none.
        at: naive UTC, noted in the ledger's ``rescales``.
        undo: take back the newest act with this ``before`` (and factor): the days read as they did, bit for bit.

    Raises:
        CandleError: no such factor, the act was done already, there is none to undo, or no day is stored before ``before``.
    """
    if not undo and (factor is None or not isfinite(factor) or factor <= 0 or factor == 1):
        raise CandleError(
            f"--factor must be new price over old, positive and not 1 (0.25 after a split of 4 for 1); got {factor}"
        )
    touched: set[str] = set()
    with lake.ledger.writing() as connection:
        active = "asset_id = ? and before = ? and undone_at is null"
        given = asset.asset_id, before.isoformat()
        done = connection.execute(f"select number, kind, factor, applied_at from rescales where {active}", given).fetchall()
        same = [row for row in done if factor in (None, row[2])]
        if undo and not same:
            raise CandleError(
                f"no rescale of {asset.asset_id} before {before} by {factor or 'any factor'} is in force; nothing to undo"
            )
        if undo:
            newest = max(applied_at for *_, applied_at in same)
            numbers = [number for number, *_, applied_at in same if applied_at == newest]
            connection.executemany(
                "update rescales set undone_at = ? where number = ?", [(iso(at), number) for number in numbers]
            )
        elif same:
            raise CandleError(
                f"{asset.asset_id} was rescaled by {factor:g} before {before} already (at {same[0][3][:16]}); "
                "with --undo the act is taken back"
            )
        for kind in _KINDS:
            stored = coverage_rows(connection, kind, date.min, before - timedelta(days=1), asset_id=asset.asset_id)
            held = [row for row in stored if row.file is not None]
            if not undo:
                act = kind, *given, factor, iso(at)
                columns = "kind, asset_id, before, factor, applied_at"
                number = connection.execute(f"insert into rescales ({columns}) values (?, ?, ?, ?, ?)", act).lastrowid
                days = [(number, kind, asset.asset_id, row.day) for row in held]
                connection.executemany("insert into rescaled_days values (?, ?, ?, ?)", days)
                stored = coverage_rows(connection, kind, date.min, before - timedelta(days=1), asset_id=asset.asset_id)
                held = [row for row in stored if row.file is not None]
            named = [content_hash(read_day_files(lake.folder, [row], SCHEMAS[kind])) for row in held]
            changed = [replace(row, content_hash=name) for row, name in zip(held, named, strict=True) if name != row.content_hash]
            put_coverage(connection, changed)
            touched |= {row.day for row in changed}
            # What was refused for its scale may be right now.
            connection.execute(
                "update coverage set attempts = 0 where kind = ? and asset_id = ? and gaps > 0", (kind, asset.asset_id)
            )
        if not touched:
            raise CandleError(f"nothing of {asset.asset_id} is stored before {before}; nothing was rescaled")
    return len(touched)
