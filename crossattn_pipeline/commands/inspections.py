"""``crossattn leaders`` and ``explain``: who leads whom as of a day, and the way back from a position to its candle."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from crossattn_core.analysis.attribution import VIEWS
from crossattn_core.analysis.leaders import Leads, why_no_lead
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.errors import CrossattnError, HistoryError
from crossattn_core.inspections import attention_overview_of, explain_position, leads_of
from crossattn_core.line import Line
from crossattn_core.report.explain import trace_records, trace_tree
from crossattn_core.report.figures.overview import attention_pictures
from crossattn_core.report.figures.style import png
from crossattn_core.selection.follow import CHAMPION
from crossattn_core.storage import write_bytes
from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output, table_of

__all__ = ["explain", "leaders"]

_SHOWN_BESIDE = 5
_MIN_SHOWN = 10


def leaders(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC) at whose end to look; else the newest.")
    ] = None,
    as_json: AsJson = False,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the pictures of attention and leads, as PNG.")] = None,
) -> None:
    """Who leads whom as of a day: named pairs first, then the strongest others, each with the reason for its verdict."""
    line, output = open_line(experiment, home), Output(as_json)
    last = as_of.date() if as_of else line.last_day
    if not line.experiment.period.start <= last <= line.last_day:
        raise CrossattnError(f"--as-of {last} lies outside {line.experiment.period.start} .. {line.last_day}; choose a day in it")
    stored, leads = leads_of(line, last)
    found = _with_views(line, stored, leads)
    no_lead = why_no_lead(found, line.experiment.analysis.false_discovery_rate)
    output.event(
        "leaders",
        _lead_table(found, f"Predictive leads as of {last}"),
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
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day of the decision (UTC).")],
    symbol: Annotated[str, typer.Option(help="Symbol of the position.")],
    strategy: Annotated[str, typer.Option(help="Strategy that holds it; champion: the one that is followed.")] = CHAMPION,
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Walk from a position to weight, forecast, model, training range, features and candle."""
    steps = explain_position(open_line(experiment, home), date.date(), symbol, strategy)
    Output(as_json).event(
        "explained",
        trace_tree(steps, f"{strategy} {symbol} on {date:%Y-%m-%d}"),
        day=date.date(),
        symbol=symbol,
        strategy=strategy,
        steps=trace_records(steps),
    )


def _with_views(line: Line, stored: StoredAttention, leads: Leads) -> pd.DataFrame:
    """The table with symbols in place of keys, and the views of the newest model beside each pair."""
    evidence = stored.evidence[["leader", "follower", *VIEWS]].rename(columns={view: f"{view}_view" for view in VIEWS})
    names = dict(zip(line.experiment.asset_ids, line.experiment.symbols, strict=True))
    beside = leads.table.merge(evidence, how="left", on=["leader", "follower"])
    return beside.assign(leader=beside["leader"].map(names), follower=beside["follower"].map(names))


def _lead_table(found: pd.DataFrame, title: str) -> Table:
    named = int(found["named"].sum())
    rows = []
    for row in found.head(max(named + _SHOWN_BESIDE, _MIN_SHOWN)).to_dict("records"):
        views = ["-" if pd.isna(row[f"{view}_view"]) else f"{row[f'{view}_view']:.0%}" for view in VIEWS]
        numbers = (f"{row['lag']} h", f"{row['correlation']:+.3f}", f"{row['q_value']:.3g}", *views)
        rows.append((str(row["leader"]), str(row["follower"]), *numbers, "yes" if row["named"] else "no", str(row["why"])))
    columns = ("leader", "follower", "lag", "correlation", "q", "attention", "gradient", "occlusion", "named", "why")
    return table_of(columns, rows, f"{title}: " + (f"{named} named" if named else "no lead found"))


def _write_pictures(line: Line, stored: StoredAttention, leads: Leads, folder: Path) -> list[Path]:
    overview = attention_overview_of(line, stored, leads)
    if overview is None:
        raise HistoryError(
            f"no attention snapshot up to {stored.last}: nothing to draw; run 'crossattn run' over more days first"
        )
    drawn = attention_pictures(*overview, line.experiment.analysis, order="sector")
    return [write_bytes(folder.resolve() / f"{name}.png", png(figure, 110)) for name, figure in drawn.items()]
