"""``crossattn candles import``: a user's own files as a folder for ``feed.kind: files``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossattn_core.errors import CandleError
from crossattn_pipeline.commands.options import AsJson
from crossattn_pipeline.commands.terminal import Output, table_of

if TYPE_CHECKING:
    from crossattn_core.candles.importing.import_files import Understood

__all__ = ["import_candles"]


def import_candles(
    files: Annotated[list[Path], typer.Argument(help="Candle files, or folders of them.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN, repeated: time, open, high, low, close, volume, turnover, symbol."),
    ] = None,
    venue: Annotated[str, typer.Option(help="Whose candles they are, where the files do not say.")] = "",
    category: Annotated[str, typer.Option(help="Instrument class; else by the files, or the venue's default.")] = "",
    bar: Annotated[
        str, typer.Option(help="Length of the candles, for files of a single row; else by the spacing of the rows.")
    ] = "",
    symbol: Annotated[str, typer.Option(help="Symbol, where neither the files nor their names say it.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of times without an offset.")] = "UTC",
    time_format: Annotated[str, typer.Option(help="As strptime has it, for dates that can be read in two ways.")] = "",
    into: Annotated[Path, typer.Option(help="The folder that feed.folder names.")] = Path("candles"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the new values of candles that are there with others.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without a question.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was understood and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn candle files as people have them into a folder for feed.kind 'files'. Shows what was understood before it writes."""
    from crossattn_core.candles.feeds.registry import wall_clock
    from crossattn_core.candles.importing.asset_rows import ImportSettings
    from crossattn_core.candles.importing.import_files import understand, write_understood

    pairs = [given.partition("=") for given in mapping or ()]
    if wrong := [name for name, equals, column in pairs if not (name and equals and column)]:
        raise CandleError(f"--map {wrong[0]}: write FIELD=COLUMN, for instance --map close=Last")
    named = {"venue": venue, "category": category, "bar": bar, "symbol": symbol, "zone": zone, "time_format": time_format}
    settings = ImportSettings({name: column for name, _, column in pairs}, replace=replace, **named)
    found, output = understand(files, into, settings, wall_clock), Output(as_json)
    for one in found:
        output.json_line({"event": "understood", **_understood_row(one)})
    columns = ("file", "layout", "asset", "bar", "time", "rows", "first", "last", "left out", "refused")
    output.text(table_of(columns, [[str(_understood_row(one)[name]) for name in columns] for one in found]))
    for one in found:
        before = f", {one.held} of which are there already" if one.held else ""
        output.text(f"{one.asset.asset_id} -> {one.target} ({len(one.candles)} candles{before})")
    if dry_run or not (yes or typer.confirm(f"Write {len(found)} files under {into}?", err=as_json)):
        output.event("not_written", "nothing was written")
        return
    write_understood(found)
    message = f"{len(found)} files written; read them with feed: {{kind: files, folder: {into.resolve()}}}"
    output.event("imported", message, files=[str(one.target) for one in found])


def _understood_row(one: Understood) -> dict[str, Any]:
    opened = one.candles["timestamp"]
    return {
        "file": ", ".join(Path(source).name for source in one.sources[:3]) + (", ..." if len(one.sources) > 3 else ""),
        "layout": ", ".join(one.layouts),
        "asset": one.asset.asset_id,
        "bar": one.bar,
        "time": f"{', '.join(one.units)} ({', '.join(one.zones)})",
        "rows": one.read,
        "first": f"{opened.min():%Y-%m-%d %H:%M}" if len(opened) else "",
        "last": f"{opened.max():%Y-%m-%d %H:%M}" if len(opened) else "",
        "left out": ", ".join(f"{count} {why}" for why, count in one.left_out.items()),
        "refused": ", ".join(f"{count} {why}" for why, count in one.refused.items()),
        "becomes": str(one.target),
        "candles": len(one.candles),
        "held": one.held,
    }
