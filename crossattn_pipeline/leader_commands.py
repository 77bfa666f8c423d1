"""``crossattn leaders``: who leads whom as of a day, in a terminal, for machines, and as pictures."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from crossattn_core import inspections
from crossattn_core.analysis.attribution import VIEWS
from crossattn_core.analysis.leaders import Leads, why_no_lead
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.errors import CrossattnError, HistoryError
from crossattn_core.line import Line
from crossattn_core.report.figures.overview import attention_pictures
from crossattn_core.report.figures.style import png
from crossattn_core.storage import write_bytes
from crossattn_pipeline.options import AsJson, ExperimentFile, HomeFolder, open_line

__all__ = ["leaders"]

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC) at whose end to look; else the newest.")]
Pictures = Annotated[Path | None, typer.Option(help="Folder to write the pictures of attention and leads into, as PNG.")]

_SHOWN_BESIDE = 5
_MIN_SHOWN = 10


def leaders(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_of: Day = None,
    as_json: AsJson = False,
    pictures: Pictures = None,
) -> None:
    """Who leads whom as of a day: named pairs first, then the strongest others, each with the reason for its verdict."""
    line = open_line(experiment, home)
    last = as_of.date() if as_of else line.last_day
    if not line.experiment.period.start <= last <= line.last_day:
        raise CrossattnError(f"--as-of {last} lies outside {line.experiment.period.start} .. {line.last_day}; choose a day in it")
    stored, leads = inspections.leads_of(line, last)
    found = _with_views(line, stored, leads)
    no_lead = why_no_lead(found, line.experiment.analysis.false_discovery_rate)
    if as_json:
        summary = {"event": "leaders", "as_of": last.isoformat(), "named": int(found["named"].sum()), "why_none": no_lead or None}
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.write(found.assign(event="lead").to_json(orient="records", lines=True).rstrip("\n") + "\n")
    else:
        _show(found, f"Predictive leads as of {last}", no_lead)
    if pictures is not None:
        _write_pictures(line, stored, leads, pictures, quiet=as_json)


def _with_views(line: Line, stored: StoredAttention, leads: Leads) -> pd.DataFrame:
    """The table with symbols in place of keys, and the views of the newest model beside each pair."""
    evidence = stored.evidence[["leader", "follower", *VIEWS]].rename(columns={view: f"{view}_view" for view in VIEWS})
    names = dict(zip(line.experiment.asset_ids, line.experiment.symbols, strict=True))
    beside = leads.table.merge(evidence, how="left", on=["leader", "follower"])
    return beside.assign(leader=beside["leader"].map(names), follower=beside["follower"].map(names))


def _show(found: pd.DataFrame, title: str, no_lead: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    named = int(found["named"].sum())
    shown = Table(title=f"{title}: " + (f"{named} named" if named else "no lead found"), title_justify="left")
    for column in ("leader", "follower", "lag", "correlation", "q", "attention", "gradient", "occlusion", "named", "why"):
        shown.add_column(column, overflow="fold")
    for row in found.head(max(named + _SHOWN_BESIDE, _MIN_SHOWN)).to_dict("records"):
        views = ["-" if pd.isna(row[f"{view}_view"]) else f"{row[f'{view}_view']:.0%}" for view in VIEWS]
        numbers = (f"{row['lag']} h", f"{row['correlation']:+.3f}", f"{row['q_value']:.3g}", *views)
        shown.add_row(str(row["leader"]), str(row["follower"]), *numbers, "yes" if row["named"] else "no", str(row["why"]))
    console.print(shown)
    if no_lead:
        console.print(no_lead, highlight=False)


def _write_pictures(line: Line, stored: StoredAttention, leads: Leads, folder: Path, *, quiet: bool) -> None:
    overview = inspections.attention_overview_of(line, stored, leads)
    if overview is None:
        raise HistoryError(
            f"no attention snapshot up to {stored.last}: nothing to draw; run 'crossattn run' over more days first"
        )
    for name, figure in attention_pictures(*overview, line.experiment.analysis, order="sector").items():
        path = write_bytes(folder.resolve() / f"{name}.png", png(figure, 110))
        if not quiet:
            sys.stdout.write(f"{path}\n")
