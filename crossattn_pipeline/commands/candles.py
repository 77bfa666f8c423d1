"""``crossattn candles``: look at the lake, and the explicit acts on it. Nothing here runs the graph.

Exit codes as for every command: 0 complete, 1 failed, 2 wrong usage, 3 incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from crossattn_core.errors import CandleError
from crossattn_pipeline.commands.import_candles import import_candles
from crossattn_pipeline.commands.options import (
    AsJson,
    End,
    ExperimentFile,
    HomeFolder,
    Start,
    Symbols,
    chosen_assets,
    named_asset,
    open_line,
    reporting_line,
)
from crossattn_pipeline.commands.simulate_candles import simulate_candles
from crossattn_pipeline.commands.terminal import INCOMPLETE, Output, table_of

if TYPE_CHECKING:
    from crossattn_core.candles.lake.coverage import AssetCoverage
    from crossattn_core.line import Line
    from crossattn_core.universe import Asset

__all__ = ["add_candle_commands"]

# Dividends after candles: the responses that bring the one bring the other.
_KINDS = ("candles", "dividends", "funding")

candles = typer.Typer(
    no_args_is_help=True, help="The raw candles: what is there, what was refused or revised, and the acts that change them."
)

Symbol = Annotated[str, typer.Option(help="One symbol of the experiment.")]


def add_candle_commands(app: typer.Typer) -> None:
    """Put the group ``candles`` under ``app``."""
    candles.command("import")(import_candles)
    candles.command("simulate")(simulate_candles)
    app.add_typer(candles, name="candles")


@candles.command()
def status(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """What is stored of each asset, and every hole: days never fetched, days fetched too early, rows missing."""
    from crossattn_core.candles.lake.coverage import coverage_of

    line = open_line(experiment, home)
    first, last = _span(line, start, end)
    found = coverage_of(line.lake, chosen_assets(line, symbols), first, last, line.experiment.feed.gap_tolerance)
    output = Output(as_json)
    for row in found:
        output.json_line({"event": "status", **asdict(row), "complete": row.is_complete})
    output.text(_status_table(found, f"{first} .. {last}"))
    for row in found:
        for hole in row.holes:
            days = f"{hole.first}" if hole.first == hole.last else f"{hole.first} .. {hole.last}"
            missing = f": {hole.missing} rows" if hole.missing else ""
            output.text(f"{row.asset_id} {row.kind}: {hole.why} {days}{missing}")
    _end(found)


@candles.command()
def quarantine(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Every row that was refused, with the rule that it broke."""
    line = open_line(experiment, home)
    first, last = _span(line, start, end)
    rows = _events(chosen_assets(line, symbols), lambda kind: line.lake.read_quarantine(first, last, kind=kind).to_pylist())
    _show(rows, ("kind", "asset_id", "closed_at", "close", "reason", "detail"), Output(as_json), "nothing was refused")


@candles.command()
def revisions(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    beyond: Annotated[bool, typer.Option("--beyond", help="Only prices that changed by more than feed.max_revision.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every stored value that the source changed later; history uses the first one until it is adopted."""
    from crossattn_core.candles.lake.revisions import revisions_beyond

    line = open_line(experiment, home)
    first, last = _span(line, start, end)

    def of_kind(kind: str) -> list[dict[str, Any]]:
        found = line.lake.read_revisions(first, last, kind=kind)
        return (revisions_beyond(found, line.experiment.feed.max_revision) if beyond else found).to_pylist()

    columns = ("kind", "asset_id", "closed_at", "field", "first_value", "later_value", "later_fetched_at", "adopted_at")
    _show(_events(chosen_assets(line, symbols), of_kind), columns, Output(as_json), "nothing was revised")


@candles.command()
def adopt(
    symbol: Symbol,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day whose later values history shall use.")],
    end: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day, inclusive.")],
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Let history use the later values of the days named. Both values stay on record; what was made from them is stale."""
    from crossattn_core.candles.lake.revisions import adopt_revisions
    from crossattn_core.days import to_naive

    line = open_line(experiment, home)
    asset = named_asset(line, symbol)
    first, last = start.date(), end.date()
    if first > last:
        raise CandleError(f"--start {first} lies after --end {last}; swap them")
    at = to_naive(line.clock())
    adopted = {kind: adopt_revisions(line.lake, asset, first, last, at, kind=kind) for kind in asset.series}
    count = sum(adopted.values())
    message = f"{count} later values of {asset.asset_id} adopted for {first} .. {last}; run 'crossattn run' to make the rest anew"
    if not count:
        message = f"no revision of {asset.asset_id} waits between {first} and {last}; nothing was changed"
    Output(as_json).event("adopted", message, asset_id=asset.asset_id, first=first, last=last, values=adopted)


@candles.command()
def retire(symbol: Symbol, experiment: ExperimentFile = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Set an asset's whole history aside, so that the next fetch brings all of it: after a split, for instance."""
    from crossattn_core.candles.lake.revisions import retire_history
    from crossattn_core.days import to_naive

    line = open_line(experiment, home)
    asset = named_asset(line, symbol)
    at = to_naive(line.clock())
    # Dividends are on the scale of the prices and go with them; funding rates are fractions and stay.
    kinds = [kind for kind in asset.series if kind != "funding"]
    kept_in = [str(aside) for kind in kinds if (aside := retire_history(line.lake, asset, at, kind=kind)) is not None]
    line.receipts.forget(f"candles/{asset.venue}")
    kept = ", ".join(kept_in)
    message = f"the history of {asset.asset_id} was set aside (kept in {kept}); run 'crossattn fetch' to fetch it again"
    if not kept_in:
        message = f"nothing of {asset.asset_id} was stored; nothing was set aside"
    Output(as_json).event("retired", message, asset_id=asset.asset_id, kept_in=kept_in)


@candles.command()
def rescale(
    symbol: Annotated[str, typer.Argument(help="One symbol of the experiment.")],
    before: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Every stored day before this one.")],
    factor: Annotated[float | None, typer.Option(help="New price over old: 0.25 after a split of 4 for 1.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the act back: the history reads as it did, bit for bit.")] = False,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Bring the stored history of an asset to another scale, after a split for instance; what was made from it is stale."""
    from crossattn_core.candles.lake.rescales import rescale_history
    from crossattn_core.days import to_naive

    line = open_line(experiment, home)
    asset = named_asset(line, symbol)
    days = rescale_history(line.lake, asset, factor, before.date(), to_naive(line.clock()), undo=undo)
    line.receipts.forget(f"candles/{asset.venue}")
    act = "read as they did before" if undo else f"read with {factor:.10g} times their prices"
    message = f"{days} days of {asset.asset_id} before {before:%Y-%m-%d} now {act}; run 'crossattn run' to make the rest anew"
    named = {"asset_id": asset.asset_id, "factor": factor, "before": before.date(), "days": days}
    Output(as_json).event("undone" if undo else "rescaled", message, **named)


@candles.command()
def refetch(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Fetch days that are stored once more: holes are filled, later values are noted next to the first ones."""
    from crossattn_core.candles.ingest.absent import refuse_absent
    from crossattn_core.candles.ingest.ingest import ingest
    from crossattn_core.candles.lake.coverage import coverage_of
    from crossattn_core.candles.lake.revisions import changed_values

    output = Output(as_json)
    with reporting_line(output, experiment, home) as line:
        first, last = _span(line, start, end)
        assets, settings, feed = chosen_assets(line, symbols), line.experiment.feed, line.feed()
        refuse_absent(feed, line.lake, assets, first, last, settings.gap_tolerance, refresh=True)
        options: dict[str, Any] = {"settings": settings, "report": line.report, "refresh_from": first}
        days = [day for kind in _KINDS for day in ingest(kind, feed, line.lake, assets, first, last, **options)]
    counts = {
        "rows": sum(day.rows for day in days),
        "missing": sum(day.gaps for day in days),
        "revised": sum(day.revisions for day in days),
        "quarantined": sum(day.quarantined for day in days),
        "requests": sum(day.requests for day in days),
        "retries": sum(day.retries for day in days),
    }
    counted = ", ".join(f"{count} {name}" for name, count in counts.items())
    refused_on = [day.day for day in days if day.quarantined]
    changed = [
        message
        for asset in assets
        for message in changed_values(line.lake, asset, first, last, settings.max_revision, refused_on)
    ]
    output.event("refetched", f"{first} .. {last}: {counted}", first=first, last=last, **counts, changed=changed)
    for message in changed:
        output.text(message)
    if changed:
        raise typer.Exit(INCOMPLETE)
    _end(coverage_of(line.lake, assets, first, last, settings.gap_tolerance))


@candles.command()
def verify(experiment: ExperimentFile = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Compare every stored file with its sha256; write the manifest: files, hashes, every request with its parameters."""
    line = open_line(experiment, home)
    faults = line.lake.verify()
    if faults:
        raise CandleError(f"{len(faults)} files are not what was stored:\n  " + "\n  ".join(faults))
    manifest = line.lake.write_manifest()
    Output(as_json).event("verified", f"every file is what was stored; manifest: {manifest}", manifest=str(manifest))


@candles.command()
def venues(as_json: AsJson = False) -> None:
    """What each venue declares: classes with their series, costs, limits, reach and units."""
    from crossattn_core.universe import VENUES

    output, rows = Output(as_json), []
    for name, venue in VENUES.items():
        classes = ", ".join(f"{category} ({', '.join(series)})" for category, series in venue.categories.items())
        costs = venue.costs.model_dump()
        reach = ", ".join(f"{bar} {days:g} days" for bar, days in venue.reach_days.items())
        output.json_line(
            {"event": "venue", "name": name, "classes": dict(venue.categories), "costs": costs, "units": venue.units}
        )
        rate, lag = f"{venue.requests_per_second:g}", f"{venue.publication_lag_seconds}"
        rows.append((name, classes, f"{venue.costs.trade_bps:g}", rate, lag, reach, venue.units))
    columns = ("venue", "classes (series)", "one-way cost, bps", "requests a second", "lag, s", "reach", "units")
    output.text(table_of(columns, rows))


def _span(line: Line, start: datetime | None, end: datetime | None) -> tuple[date, date]:
    first, last = start.date() if start else line.experiment.period.start, end.date() if end else line.last_day
    if first > last:
        raise CandleError(f"the range {first} .. {last} holds no day; choose --start and --end in order")
    newest = max(line.last_day, line.clock().date())
    if last > newest:
        raise CandleError(f"--end {last} is not over yet; choose {newest} or an earlier day")
    return first, last


def _end(found: Sequence[AssetCoverage]) -> None:
    # As for the assets of the graph: funding that is missing is charged as zero and counted, and stops nobody.
    if not all(row.is_complete for row in found if row.kind != "funding"):
        raise typer.Exit(INCOMPLETE)


def _events(assets: Sequence[Asset], of_kind: Callable[[str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of every kind that concern the assets."""
    names = {asset.asset_id for asset in assets}
    kinds = dict.fromkeys(kind for asset in assets for kind in asset.series)
    return [{"kind": kind, **row} for kind in kinds for row in of_kind(kind) if row["asset_id"] in names]


def _show(rows: Sequence[dict[str, Any]], columns: Sequence[str], output: Output, none: str) -> None:
    for row in rows:
        output.json_line(row)
    if rows:
        output.text(table_of(columns, ([_cell(row[column]) for column in columns] for row in rows)))
    output.text(f"{len(rows)} rows" if rows else none)


def _status_table(found: Sequence[AssetCoverage], title: str) -> Table:
    columns = ("asset", "kind", "rows", "expected", "missing", "first", "last", "refused", "revised", "state")
    rows = [
        (
            row.asset_id,
            row.kind,
            *map(_cell, (row.rows, row.expected, row.missing, row.first, row.last, row.quarantined, row.revisions_waiting)),
            "complete" if row.is_complete else "INCOMPLETE",
        )
        for row in found
    ]
    return table_of(columns, rows, title)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
