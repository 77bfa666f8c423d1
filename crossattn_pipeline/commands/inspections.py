"""``crossattn review``, ``leaders`` and ``explain``: a day before it is traded, who leads whom, from a position to its candle."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from crossattn_core.errors import HistoryError
from crossattn_pipeline.commands.options import AsJson, Day, ExperimentFile, HomeFolder, day_of, open_line
from crossattn_pipeline.commands.terminal import INCOMPLETE, Output, table_of

if TYPE_CHECKING:
    import pandas as pd

    from crossattn_core.analysis.leaders import Leads
    from crossattn_core.analysis.snapshot_store import StoredAttention
    from crossattn_core.grid import Grid
    from crossattn_core.line import Line

__all__ = ["explain", "leaders", "review"]

_SHOWN_BESIDE = 5
_MIN_SHOWN = 10


def review(experiment: ExperimentFile = None, home: HomeFolder = None, day: Day = None, as_json: AsJson = False) -> None:
    """A day before it is traded: what was decided and why, what changed, and what speaks against it (then the exit code is 3)."""
    from crossattn_core.day_review import review_day

    line, output = open_line(experiment, home), Output(as_json)
    found = review_day(line, day_of(line, day))
    output.json_line({"event": "reviewed", **asdict(found)})
    for decision in found.decisions:
        output.text(decision)
    changes = [(change.what, change.before, change.now, change.why) for change in found.changes]
    output.text(table_of(("changed", "before", "now", "why"), changes, f"{found.day} beside the day before") if changes else "")
    if not changes:
        output.text(f"{found.day}: nothing changed since the day before.")
    for reason in found.against:
        output.text(f"Against trading on {found.day}: {reason}")
    if found.against:
        raise typer.Exit(INCOMPLETE)
    output.text(f"Nothing speaks against trading on the weights of {found.day}.")


def leaders(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    day: Day = None,
    as_json: AsJson = False,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the pictures of attention and leads, as PNG.")] = None,
) -> None:
    """Who leads whom as of a day: named pairs first, then the strongest others, each with the reason for its verdict."""
    from crossattn_core.analysis.leaders import why_no_lead
    from crossattn_core.inspections import leads_of

    line, output = open_line(experiment, home), Output(as_json)
    last = day_of(line, day)
    stored, leads = leads_of(line, last)
    found = _with_views(line, stored, leads)
    no_lead = why_no_lead(found, line.experiment.analysis.false_discovery_rate)
    output.event(
        "leaders",
        _lead_table(found, f"Predictive leads as of {last}", line.experiment.grid),
        as_of=last,
        named=int(found["named"].sum()),
        why_none=no_lead or None,
    )
    for lead in json.loads(found.to_json(orient="records")):
        output.json_line({"event": "lead", **lead})
    output.text(no_lead)
    if pictures is not None:
        for path in _write_pictures(line, stored, leads, pictures):
            output.text(f"{path}")


def explain(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day of the decision (UTC).")],
    symbol: Annotated[str, typer.Option(help="Symbol of the position.")],
    strategy: Annotated[str | None, typer.Option(help="Strategy that holds it; else the champion, which is followed.")] = None,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Walk from a position to weight, forecast, model, training range, features and candle."""
    from crossattn_core.inspections import explain_position
    from crossattn_core.report.explain import trace_records, trace_tree
    from crossattn_core.selection.follow import CHAMPION

    line, strategy = open_line(experiment, home), strategy or CHAMPION
    steps = explain_position(line, day_of(line, day), symbol, strategy)
    Output(as_json).event(
        "explained",
        trace_tree(steps, f"{strategy} {symbol} on {day:%Y-%m-%d}"),
        day=day.date(),
        symbol=symbol,
        strategy=strategy,
        steps=trace_records(steps),
    )


def _with_views(line: Line, stored: StoredAttention, leads: Leads) -> pd.DataFrame:
    """The table with symbols in place of keys, and the views of the newest model beside each pair."""
    from crossattn_core.analysis.evidence import VIEWS
    from crossattn_core.analysis.leaders import in_symbols

    evidence = stored.evidence[["leader", "follower", *VIEWS]].rename(columns={view: f"{view}_view" for view in VIEWS})
    names = dict(zip(line.experiment.asset_ids, line.experiment.symbols, strict=True))
    beside = leads.table.merge(evidence, how="left", on=["leader", "follower"])
    return in_symbols(beside, names)


def _lead_table(found: pd.DataFrame, title: str, grid: Grid) -> Table:
    import pandas as pd

    from crossattn_core.analysis.evidence import VIEWS

    named = int(found["named"].sum())
    rows = []
    for row in found.head(max(named + _SHOWN_BESIDE, _MIN_SHOWN)).to_dict("records"):
        views = ["-" if pd.isna(row[f"{view}_view"]) else f"{row[f'{view}_view']:.0%}" for view in VIEWS]
        numbers = (grid.label(row["lag"]), f"{row['correlation']:+.3f}", f"{row['q_value']:.3g}", *views)
        rows.append((str(row["leader"]), str(row["follower"]), *numbers, "yes" if row["named"] else "no", str(row["why"])))
    columns = ("leader", "follower", "lag", "correlation", "q", "attention", "gradient", "occlusion", "named", "why")
    return table_of(columns, rows, f"{title}: " + (f"{named} named" if named else "no lead found"))


def _write_pictures(line: Line, stored: StoredAttention, leads: Leads, folder: Path) -> list[Path]:
    from crossattn_core.inspections import attention_overview_of
    from crossattn_core.report.figures.overview import attention_pictures
    from crossattn_core.report.figures.style import png
    from crossattn_core.storage import write_bytes

    overview = attention_overview_of(line, stored, leads)
    if overview is None:
        raise HistoryError(
            f"no attention snapshot up to {stored.last}: nothing to draw; run 'crossattn run' over more days first"
        )
    drawn = attention_pictures(*overview, line.experiment.analysis, order="sector")
    return [write_bytes(folder.resolve() / f"{name}.png", png(figure, 110)) for name, figure in drawn.items()]
