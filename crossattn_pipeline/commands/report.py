"""What ``run``, ``backtest`` and ``report`` end with: the headline, the leads and where the page is."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossattn_core.errors import CrossattnError
from crossattn_pipeline.commands.terminal import Output, table_of

if TYPE_CHECKING:
    from crossattn_core.line import Line

__all__ = ["show_report"]


def show_report(line: Line, output: Output, day: date | None = None) -> None:
    """Print the report as of the end of ``day`` (none: the newest).

    Raises:
        CrossattnError: there is no such report.
    """
    from crossattn_core.report.tables import headline
    from crossattn_core.storage import read_json
    from crossattn_pipeline.metadata import REPORTS_PATH
    from crossattn_pipeline.ui import HOST, served_port

    folder = line.home.reports / str(day or line.last_day)
    page, numbers = folder / "report.html", folder / "report.json"
    if not numbers.exists():
        raise CrossattnError(
            f"{numbers}: no report yet; run 'crossattn run' over the whole period, which has to be longer than the "
            f"{line.experiment.retrain.minimum_days} days of history that the first model needs (retrain.minimum_days)"
        )
    what = f"'crossattn report --day {folder.name}' writes it again"
    report = read_json(numbers, what, ("experiment", "verdict", "strategies"))
    leads = read_json(folder / "leads.json", what, ("leads", "truth_known"))
    output.event("report", headline(report), page=str(page), verdict=report["verdict"], strategies=report["strategies"])
    _show_leads(leads, output)
    output.text(f"Report: {page}")
    served = served_port(Path(os.environ.get("DAGSTER_HOME") or line.home.dagster))
    where = (
        f"http://{HOST}:{served}{REPORTS_PATH}/{folder.name}/{page.name}" if served else "the web UI ('crossattn ui') serves it"
    )
    output.text(f"In the browser: {where}")


def _show_leads(found: dict[str, Any], output: Output) -> None:
    leads, truth_known = found["leads"], found["truth_known"]
    if not leads:
        output.text("Predictive leads: no lead found.")
        return
    from crossattn_core.grid import Grid

    rows = []
    for lead in leads:
        grid = Grid(bar=lead["bar"])
        lag = grid.label(lead["lag_bars"]) if lead["named"] else "not named"
        planted = grid.label(lead["planted_lag_bars"]) if lead["planted_lag_bars"] is not None else "none"
        rows.append((lead["leader"], lead["follower"], lag, *((planted,) if truth_known else ()), lead["why"]))
    columns = ("leader", "follower", "lag found", *(("lag planted",) if truth_known else ()), "why")
    output.text(table_of(columns, rows, "Predictive leads" + (" against the planted truth" if truth_known else "")))
