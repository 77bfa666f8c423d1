"""``crossattn fetch``: the lake brought up to date with the feed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import typer

from crossattn_core.errors import HomeError
from crossattn_pipeline.commands.options import (
    AsJson,
    End,
    ExperimentFile,
    HomeFolder,
    Start,
    Symbols,
    chosen_assets,
    complete_days,
    listed,
    reporting_line,
)
from crossattn_pipeline.commands.terminal import INCOMPLETE, Output

if TYPE_CHECKING:
    from crossattn_core.line import Line

__all__ = ["fetch"]


def fetch(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Bring the lake up to date with the feed; nothing that is stored is requested twice.

    Of --symbols, in a home of the whole experiment, only those are fetched. Two or more are the universe of a new home.
    """
    from crossattn_core.candles.ingest.absent import refuse_absent
    from crossattn_core.candles.lake.revisions import changed_values

    output = Output(as_json)
    universe = symbols if len(listed(symbols)) > 1 and not _holds_everything(experiment, home) else ""
    with reporting_line(output, experiment, home, universe) as line:
        first, last = complete_days(line, start, end)
        assets, settings = chosen_assets(line, symbols), line.experiment.feed
        refuse_absent(line.feed(), line.lake, assets, first, last, settings.gap_tolerance)
        everything = len(assets) == len(line.experiment.assets)
        complete, refused = (_all if everything else _some)(line, output, symbols, first, last)
        for asset in assets:
            days = line.staleness.days if refused else []
            for message in changed_values(line.lake, asset, first, last, settings.max_revision, days):
                output.event("changed", message)
    if not complete:
        raise typer.Exit(INCOMPLETE)


def _all(line: Line, output: Output, _: str, first: date, last: date) -> tuple[bool, bool]:
    """Fetch every asset as a run of the graph; (is everything there, was anything refused)."""
    from crossattn_pipeline.launch import materialize

    stages = line.experiment.candle_stages
    output.text(f"registering {(last - first).days + 1} days of {len(stages)} assets with Dagster")
    result = materialize(line, "data", stages, [first, last], must_pass=False)
    complete = [check for check in result.get_asset_check_evaluations() if check.check_name == "complete"]
    for check in complete:
        numbers = {name: check.metadata[name].value for name in ("expected", "missing", "quarantined")}
        _show(output, check.asset_key.to_user_string(), check.passed, numbers)
    return all(check.passed for check in complete), any(check.metadata["quarantined"].value for check in complete)


def _some(line: Line, output: Output, symbols: str, first: date, last: date) -> tuple[bool, bool]:
    """Fetch the assets of ``symbols`` alone: a partition of the graph is a venue's day, so no run is recorded."""
    from crossattn_core.candles.ingest.ingest import ingest
    from crossattn_core.candles.lake.coverage import coverage_of

    assets, settings, feed = chosen_assets(line, symbols), line.experiment.feed, line.feed()
    for kind in ("candles", "dividends", "funding"):
        ingest(kind, feed, line.lake, assets, first, last, settings=settings, report=line.report)
    found = coverage_of(line.lake, assets, first, last, settings.gap_tolerance)
    for row in found:
        numbers = {"expected": row.expected, "missing": row.missing, "quarantined": row.quarantined}
        _show(output, row.asset_id if row.kind == "candles" else f"{row.asset_id} {row.kind}", row.is_complete, numbers)
    # As in the graph: funding that is missing is charged as zero and counted, and stops nobody.
    return all(row.is_complete for row in found if row.kind != "funding"), any(row.quarantined for row in found)


def _show(output: Output, asset: str, passed: bool, numbers: Mapping[str, object]) -> None:
    text = f"{asset:<22} {'complete' if passed else 'INCOMPLETE'}  {', '.join(f'{n:,} {name}' for name, n in numbers.items())}"
    output.event("fetched", text, asset=asset, passed=passed, **numbers)


def _holds_everything(experiment: ExperimentFile, home: HomeFolder) -> bool:
    """Whether the home was founded for the whole experiment."""
    import os

    from crossattn_core.experiment import load_experiment
    from crossattn_core.home import open_home
    from crossattn_pipeline.instance import experiment_path, home_from

    root = home_from(os.environ, home)
    if not (root / "home.json").is_file():
        return False
    try:
        open_home(root, load_experiment(experiment_path(os.environ, experiment)))
    except HomeError:
        return False
    return True
