"""The stored panel: daily Parquet is the truth, the memory-mapped arrays a cache of it.

    panel/days/2025-01-01.parquet   a row a bar and asset, every column of features.panel_rows
    panel/index.json                day -> hash of its values, and what the days hold
    panel/cache/                    the arrays that ``open_panel`` maps, made by the export

Rows are checked before they are written. A new day is appended: rows that a reader has mapped are never rewritten (see cache.py).
Axes: T bars of the grid.
"""

import hashlib
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from crossattn_core.days import bounds, days_between
from crossattn_core.errors import ContractError, HistoryError, HomeError
from crossattn_core.experiment import Experiment
from crossattn_core.grid import HOURLY
from crossattn_core.home import Home
from crossattn_core.panel.cache import PanelCache, column_values, day_path, panel_columns, panel_of, read_day
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.schemas import check_panel, check_table
from crossattn_core.receipts import combined_hash
from crossattn_core.storage import FROM_BACKUP, locked, read_json, write_json, write_parquet

__all__ = ["chain_hash", "export_days", "exported_days", "open_panel"]

_BARS_AT_ONCE = 61 * 24  # bounds the memory of a long export


def export_days(
    connection: duckdb.DuckDBPyConnection, home: Home, experiment: Experiment, first: date, last: date
) -> dict[date, str]:
    """Write the days first..last of ``features.panel_rows`` as daily Parquet.

    Returns:
        day -> hash of its values; a day whose hash is unchanged is not written again.

    Raises:
        ContractError: a feature that the experiment names is no column, a bar of an asset is missing or doubled, or a row
            or mask breaks the panel's contract. What was exported before stays.
    """
    hashes: dict[date, str] = {}
    days_at_once = max(_BARS_AT_ONCE // experiment.grid.bars_per_day, 2)
    for chunk_first in days_between(first, last):
        if (chunk_first - first).days % days_at_once == 0:
            chunk_last = min(chunk_first + timedelta(days=days_at_once - 1), last)
            rows = _panel_rows(connection, experiment, chunk_first, chunk_last)
            ordered = _placed(experiment, rows, chunk_first, chunk_last)
            _check(home, experiment, ordered, chunk_first, chunk_last)
            hashes |= _write_days(home, experiment, ordered, chunk_first, chunk_last)
    # The arrays are made here, so that opening the panel costs the same at any size.
    chain = chain_hash(home, experiment)
    if chain:
        PanelCache(home, experiment).hold(list(chain.values()), list(chain))
    return hashes


def exported_days(home: Home) -> dict[date, str]:
    """Every day that was exported, in order, with the hash of its values."""
    return {date.fromisoformat(day): value for day, value in sorted(_index(home).get("days", {}).items())}


def chain_hash(home: Home, experiment: Experiment) -> dict[date, str]:
    """For each day, from the first of the period to the first hole: the content hash of the panel that ends there."""
    return _chained(experiment, exported_days(home))


def open_panel(home: Home, experiment: Experiment, *, last: date | None = None) -> Panel:
    """The panel from the first day of the period to ``last`` (the newest exported day where none), memory-mapped.

    Raises:
        HistoryError: a day of that range was never exported.
        ContractError: a stored day does not hold what the experiment names.
        HomeError: the cache is damaged.
    """
    try:
        return _opened(home, experiment, last)
    except HomeError:
        return _opened(home, experiment, last)  # an export that changed history has replaced the arrays in between


def _opened(home: Home, experiment: Experiment, last: date | None) -> Panel:
    exported = exported_days(home)
    chain = _chained(experiment, exported)
    last = last if last is not None else max(exported, default=None)
    if last is None or last not in chain:
        raise HistoryError(_missing(experiment, exported, last))
    days = [day for day in chain if day <= last]
    cache = PanelCache(home, experiment)
    generation = cache.hold([chain[day] for day in days], days)
    return cache.mapped(generation, days, chain[last])


def _panel_rows(connection: duckdb.DuckDBPyConnection, experiment: Experiment, first: date, last: date) -> pa.Table:
    start, end = bounds(first)[0], bounds(last)[1]
    try:
        rows = connection.sql(
            f"select * from features.panel_rows where as_of > timestamp '{start}' and as_of <= timestamp '{end}'"
        ).to_arrow_table()
    except duckdb.CatalogException as error:
        raise ContractError(f"features.panel_rows is not built yet; build it and what it reads first ({error})") from error
    missing = [name for name in experiment.features.names if name not in rows.column_names]
    if missing:
        offered = [field.name for field in rows.schema if field.type == pa.float32()]
        raise ContractError(
            f"features.panel_rows has no column {', '.join(missing)}; features to choose from: {', '.join(offered)}"
        )
    return rows


def _placed(experiment: Experiment, rows: pa.Table, first: date, last: date) -> pa.Table:
    """The rows bar by bar, assets in universe order; placed by their keys, so that a missing one cannot shift another."""
    as_of_T, assets = experiment.grid.rows(first, last), experiment.asset_ids
    row_at = experiment.grid.position(rows["as_of"].to_numpy(), as_of_T[0])
    found = rows["asset_id"].combine_chunks().dictionary_encode()
    position = {asset: place for place, asset in enumerate(assets)}
    at_code = np.array([position.get(asset, -1) for asset in found.dictionary.to_pylist()], dtype=np.int64)
    asset_at = at_code[found.indices.to_numpy()]
    known = asset_at >= 0
    place = (row_at * len(assets) + asset_at)[known]
    counts = np.bincount(place, minlength=len(as_of_T) * len(assets))
    if (counts != 1).any():
        worst = int(np.argmax(counts != 1))
        raise ContractError(
            f"features.panel_rows holds {counts[worst]} rows for {assets[worst % len(assets)]} "
            f"at {as_of_T[worst // len(assets)]}Z, where 1 is due ({int((counts != 1).sum())} such places in {first}..{last}); "
            "synchronise and build that range again"
        )
    order = np.empty(len(place), dtype=np.int64)
    order[place] = np.flatnonzero(known)
    return rows.take(pa.array(order)).combine_chunks()


def _check(home: Home, experiment: Experiment, ordered: pa.Table, first: date, last: date) -> None:
    """Refuse rows that break the panel's contract, before any of them is written; the day before is the context of marks."""
    check_table("panel_rows", ordered.to_pandas(), experiment.grid)
    before, has_past = first - timedelta(days=1), first > experiment.period.start
    with_context = ordered.select(panel_columns(experiment))
    is_known = has_past and before in exported_days(home) and day_path(home, before).is_file()
    if is_known:
        with_context = pa.concat_tables([read_day(home, experiment, before), with_context])
    as_of_T = experiment.grid.rows(before if is_known else first, last)
    bars = experiment.grid.bars_per_day
    check_panel(panel_of(experiment, with_context, as_of_T), first_row=bars if is_known else 0, has_past=has_past)


def _write_days(home: Home, experiment: Experiment, ordered: pa.Table, first: date, last: date) -> dict[date, str]:
    assets = experiment.asset_ids
    per_day = experiment.grid.bars_per_day * len(assets)
    rows = {day: ordered.slice(number * per_day, per_day) for number, day in enumerate(days_between(first, last))}
    hashes = {day: _hash_of(rows[day]) for day in rows}
    with locked(home.panel / "index.lock"):
        index = _index(home)
        is_same_grid = index.get("bar", "1h") == experiment.grid.bar
        stored = index.get("days", {}) if is_same_grid and index.get("columns") == ordered.column_names else {}
        for day in rows:
            path = day_path(home, day)
            if stored.get(day.isoformat()) != hashes[day] or not path.is_file():
                write_parquet(path, rows[day])
        merged = (index.get("days", {}) if is_same_grid else {}) | {day.isoformat(): value for day, value in hashes.items()}
        write_json(
            home.panel / "index.json",
            {"bar": experiment.grid.bar, "columns": ordered.column_names, "assets": list(assets), "days": merged},
        )
    return hashes


def _hash_of(rows: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in rows.column_names:
        digest.update(f"{name} {rows.schema.field(name).type};".encode())
        if name == "asset_id":
            digest.update("\n".join(rows[name].to_pylist()).encode())
        else:
            digest.update(column_values(rows, name).tobytes())
    return digest.hexdigest()[:16]


def _chained(experiment: Experiment, exported: dict[date, str]) -> dict[date, str]:
    grid = () if experiment.grid == HOURLY else (experiment.grid.bar,)
    value = combined_hash("panel 1", *grid, *experiment.asset_ids, *experiment.features.names)
    chain: dict[date, str] = {}
    day = experiment.period.start
    while day in exported:
        value = combined_hash(value, exported[day])
        chain[day] = value
        day += timedelta(days=1)
    return chain


def _missing(experiment: Experiment, exported: dict[date, str], last: date | None) -> str:
    if last is None:
        return "the panel holds no day yet; 'crossattn run' makes it"
    absent = [day for day in days_between(experiment.period.start, last) if day not in exported]
    if not absent:
        return f"{last} lies before the period's first day {experiment.period.start}"
    return (
        f"the panel up to {last} lacks {len(absent)} of its days, first {absent[0]}, last {absent[-1]}; "
        "'crossattn run' makes them: a panel has no holes"
    )


def _index(home: Home) -> dict[str, Any]:
    path = home.panel / "index.json"
    return read_json(path, FROM_BACKUP, ("days",)) if path.exists() else {}
