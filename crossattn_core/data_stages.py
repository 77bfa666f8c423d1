"""From feed to panel: the stages whose partitions are days of candles. The order of all stages: line.py."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date

import duckdb
import pandas as pd
import pyarrow as pa

from crossattn_core.candles.ingest.ingest import IngestedDay, ingest, with_dividends
from crossattn_core.candles.lake.revisions import revisions_beyond
from crossattn_core.days import days_between
from crossattn_core.line import Line
from crossattn_core.panel.store import export_days
from crossattn_core.progress import Progress
from crossattn_core.universe import Kind, VenueName
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.results import result_tables, sync_results
from crossattn_core.warehouse.run import BuildResult, build
from crossattn_core.warehouse.sources import sync_sources

__all__ = [
    "build_table",
    "data_quality",
    "export_windows",
    "ingest_candles",
    "ingest_funding",
    "suspect_candles",
]


def ingest_candles(line: Line, venue: VenueName, first: date, last: date) -> list[IngestedDay]:
    """A feed's candles of one venue, and what dividends came with them -> the lake; one row a day.

    Errors as ``candles.ingest.ingest``.
    """
    stage, feed = f"candles/{venue}", line.feed()
    made_from = line.made_from(stage)
    assets, settings = line.experiment.assets_on(venue), line.experiment.feed
    days = ingest("candles", feed, line.lake, assets, first, last, settings=settings, report=_report(line, stage))
    if any(asset.pays_dividends for asset in assets):
        report = _report(line, f"{stage} dividends")
        days = with_dividends(days, ingest("dividends", feed, line.lake, assets, first, last, settings=settings, report=report))
    # A day that lacks too much is not done: the next run fetches and judges it again.
    line.record(stage, {row.day: row.content_hash for row in days if row.complete and not row.lacking}, made_from)
    line.receipts.forget(stage, [row.day.isoformat() for row in days if row.lacking])
    return days


def ingest_funding(line: Line, venue: VenueName, first: date, last: date) -> list[IngestedDay]:
    """A feed's funding settlements of one venue -> the lake; one row a day. Errors as ``candles.ingest.ingest``."""
    stage, assets, settings = f"candles/{venue}_funding", line.experiment.assets_on(venue), line.experiment.feed
    made_from = line.made_from(stage)
    days = ingest("funding", line.feed(), line.lake, assets, first, last, settings=settings, report=_report(line, stage))
    # No calendar must be met: what is missing is charged as zero and counted in the report.
    line.record(stage, {row.day: row.content_hash for row in days if row.complete}, made_from)
    return days


def suspect_candles(
    line: Line, venue: VenueName, first: date, last: date, kinds: Sequence[Kind] = ("candles", "dividends")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(revisions beyond ``feed.max_revision``, what was refused) of one venue, one row each, for the days first..last."""
    lake = line.lake
    revisions = pa.concat_tables([lake.read_revisions(first, last, venue=venue, kind=kind) for kind in kinds])
    refused = pa.concat_tables([lake.read_quarantine(first, last, venue=venue, kind=kind) for kind in kinds])
    return revisions_beyond(revisions, line.experiment.feed.max_revision).to_pandas(), refused.to_pandas()


def build_table(line: Line, name: str, first: date, last: date) -> BuildResult:
    """The lake -> one SQL model, for the days first..last, tested before it is stored.

    Raises:
        WarehouseError: DuckDB refused, or (RejectedError) a test that blocks failed; what was stored before is untouched.
    """
    made_from = line.made_from(name)
    with _warehouse(line) as connection:
        sync_lake(line, connection, last)
        if tables := result_tables(line.project, name):
            sync_results(connection, line.home, line.experiment, tables)
        result = build(connection, line.project, name, first, last, tested=True)
    if result.rows is not None:
        line.report(Progress(name, 1, 1, note=f"{result.rows} rows"))
    if result.content_hash_by_day:
        line.record(name, {day: result.content_hash_by_day[day] for day in days_between(first, last)}, made_from)
    return result


def _warehouse(line: Line) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """The warehouse, open; receipts of what lay in one that is gone are forgotten before a new one is made."""
    if not line.home.warehouse.is_file():
        for stage in line.stages:
            if stage.is_in_warehouse:
                line.receipts.forget(stage.name)
    return connect(line.home.warehouse)


def sync_lake(line: Line, connection: duckdb.DuckDBPyConnection, last: date) -> None:
    """Bring the raw tables up to the lake, for every day up to ``last`` that differs from what they were loaded from."""
    stale = line.staleness.stale_days("raw", last=last)
    if stale:
        made_from = line.made_from("raw")
        sync_sources(connection, line.lake, line.experiment, stale[0], stale[-1])
        line.record("raw", dict.fromkeys(days_between(stale[0], stale[-1]), ""), made_from)


def export_windows(line: Line, first: date, last: date) -> dict[date, str]:
    """DuckDB -> the panel's daily Parquet, validated; returns the hash of each day.

    Raises:
        ContractError: a row or an array breaks the panel's contract; nothing is written, what was exported before stays.
    """
    made_from = line.made_from("feature_windows")
    with _warehouse(line) as connection:
        build(connection, line.project, "features.panel_rows", first, last)
        hashes = export_days(connection, line.home, line.experiment, first, last)
    line.record("feature_windows", hashes, made_from)
    return hashes


def data_quality(line: Line, last: date) -> pd.DataFrame | None:
    """One row an asset: what was expected, stored, refused and revised; none before the mart is there."""
    if "marts.data_quality" not in line.project.models:
        return None
    with _warehouse(line) as connection:
        build(connection, line.project, "marts.data_quality", line.experiment.period.start, last)
        return connection.sql("select * from marts.data_quality").df()


def _report(line: Line, stage: str) -> Callable[[Progress], None]:
    return lambda step: line.report(replace(step, stage=stage))
