"""The report: one self-contained HTML page, and the same numbers as JSON and Parquet. Equal inputs give equal bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from markupsafe import Markup
from matplotlib.figure import Figure

from crossattn_core.analysis.leaders import why_no_lead
from crossattn_core.backtest.performance import periods_per_day
from crossattn_core.experiment import Experiment
from crossattn_core.report import tables
from crossattn_core.report.figures.attention import attention_figure
from crossattn_core.report.figures.buckets import bucket_figure
from crossattn_core.report.figures.leads import edge_graph_figure
from crossattn_core.report.figures.models import retrain_figure, shrinkage_figure
from crossattn_core.report.figures.overview import PICTURES, attention_pictures
from crossattn_core.report.figures.performance import (
    contribution_figure,
    cost_figure,
    equity_figure,
    exposure_figure,
    rolling_sharpe_figure,
    underwater_figure,
)
from crossattn_core.report.figures.style import svg
from crossattn_core.report.html import bars_in_words, render, spelled
from crossattn_core.report.inputs import ReportInputs, leads_beside_truth
from crossattn_core.report.lead_verdict import lead_verdict, planted_here
from crossattn_core.report.numbers import report_numbers
from crossattn_core.storage import write_json, write_parquet, write_text

__all__ = ["ReportPaths", "build_report"]

_KINDS = ("year", "regime", "venue", "asset", "month")
"""Parts of the period and of the universe, in the page's order."""
_FIRST_WIDTH, _FIRST_HEIGHT = 5.2, 3.9
"""Inches of each of the two figures on the first screen."""


@dataclass(frozen=True)
class ReportPaths:
    """Where the report lies."""

    html: Path
    json: Path
    returns: Path


def build_report(inputs: ReportInputs, folder: Path) -> ReportPaths:
    """Write ``report.html``, ``report.json``, ``leads.json`` and ``returns.parquet`` into ``folder``.

    ``returns.parquet`` holds every strategy's equity by row, net return, exposures, turnover and costs; its ``net_return`` by
    ``as_of`` is what other tear-sheet tools read.

    Raises:
        BacktestError: no simulation of the subject, or simulations over different rows.
    """
    numbers = report_numbers(inputs)
    # A strategy at a time: a frame of them all would hold a year of minutes twice over.
    by_row = pa.concat_tables(
        pa.Table.from_pandas(simulation.by_row(), preserve_index=False) for simulation in inputs.simulations.values()
    )
    write_json(folder / "leads.json", {"truth_known": inputs.planted is not None, "leads": leads_beside_truth(inputs)})
    return ReportPaths(
        html=write_text(folder / "report.html", _page(inputs, numbers)),
        json=write_json(folder / "report.json", numbers),
        returns=write_parquet(folder / "returns.parquet", by_row),
    )


def _page(inputs: ReportInputs, numbers: dict[str, Any]) -> str:
    """The page's HTML from the inputs and their ``report_numbers``."""
    experiment, shrunk = inputs.experiment, _shrunk_family(inputs)
    grid = experiment.grid
    baselines = [{"name": name, **line} for name, line in numbers["beside"].items() if line["correlation"] is not None]
    return render(
        "page.html.j2",
        r=numbers | {"title": experiment.report.title, "symbols": experiment.symbols},
        by_kind={kind: [line for line in numbers["parts"] if line["kind"] == kind] for kind in _KINDS},
        headline_columns=tables.HEADLINE,
        headline_lines=list(zip(numbers["order"], tables.headline_rows(numbers), strict=True)),
        horizon=spelled(grid.label(experiment.labels.trade_horizon)),
        bar=_bar_words(experiment),
        shrunk=shrunk,
        simulated=inputs.planted is not None,
        svg=_figures(inputs, numbers["order"], shrunk),
        attention=_attention(inputs),
        tables={
            "baselines": baselines,
            "forecasts": tables.forecast_rows(inputs.forecast_quality, grid),
            "accuracy": tables.accuracy_rows(numbers["accuracy_tests"], grid),
            "buckets": tables.bucket_table(numbers["buckets"]),
            "decay": tables.decay_table(numbers["decay"], grid),
            "plan": tables.plan_table(inputs.plan),
            "metrics": tables.metric_rows(numbers["strategies"]),
            "leads": tables.lead_lines(inputs.leaders, planted_here(inputs), grid),
            "quality": tables.frame_table(_without_keys(inputs.data_quality)),
        },
    )


def _bar_words(experiment: Experiment) -> dict[str, str]:
    """What the page's notes say of the grid: a bar, returns of bars, the returns of ratios, how many a year, the fill's delay."""
    grid, per_day = experiment.grid, periods_per_day(experiment.grid)
    one = {"1m": "minute", "1h": "hour", "1d": "day"}.get(grid.bar, grid.words())
    returns = {"1h": "hourly", "1d": "daily"}.get(grid.bar, spelled(grid.label(1)))
    return {
        "one": one,
        "bars": bars_in_words(grid),
        "returns": returns,
        "ratio_returns": returns if per_day == grid.bars_per_day else "daily",
        "ratio_returns_a_year": f"{365 * per_day:,}",
        "fill": grid.words(experiment.labels.execution_lag),
    }


def _figures(inputs: ReportInputs, order: Sequence[str], shrunk: str | None) -> dict[str, Markup | None]:
    """Figures by name; None where there is nothing to draw."""
    subject, benchmark, simulations = inputs.subject, inputs.benchmark, inputs.simulations
    own = simulations[subject]
    ordered = {name: simulations[name] for name in order}
    drawn: dict[str, Figure | None] = {
        "first_equity": equity_figure(ordered, subject, benchmark, width=_FIRST_WIDTH, height=_FIRST_HEIGHT),
        "first_leads": _first_leads(inputs),
        "equity": equity_figure(ordered, subject, benchmark),
        "underwater": underwater_figure(ordered, subject, benchmark),
        "rolling": rolling_sharpe_figure(ordered, subject, benchmark),
        "costs": cost_figure(own),
        "contribution": contribution_figure(own, inputs.experiment.symbols),
        "exposure": exposure_figure(own),
        "shrinkage": None if shrunk is None else shrinkage_figure(simulations[shrunk], inputs.shrinkage[shrunk]),
        "buckets": bucket_figure(inputs.buckets) if inputs.buckets else None,
        "retrains": None,
    }
    if inputs.plan is not None and (inputs.plan["action"] == "retrain").any():
        drawn["retrains"] = retrain_figure(inputs.plan, inputs.regime_windows, own.as_of_T[0], own.as_of_T[-1])
    return _shown(drawn)


def _first_leads(inputs: ReportInputs) -> Figure | None:
    """The graph of leads at the size of the first screen, with the planted ones that were not named."""
    if inputs.overview is None:
        return None
    verdict, rate = lead_verdict(inputs), inputs.experiment.analysis.false_discovery_rate
    missed = () if verdict is None else verdict.missed
    return edge_graph_figure(inputs.overview, false_discovery_rate=rate, missed=missed, size=(_FIRST_WIDTH, _FIRST_HEIGHT))


def _attention(inputs: ReportInputs) -> dict[str, Any]:
    """Pictures of attention and leads by name, None where there is nothing to draw, and what the notes beside them need."""
    overview, settings = inputs.overview, inputs.experiment.analysis
    drawn: dict[str, Figure | None] = dict.fromkeys(PICTURES)
    if inputs.attention is not None and overview is not None:
        drawn |= attention_pictures(inputs.attention, overview, settings, order="sector")
    elif inputs.attention is not None:
        drawn["attention"] = attention_figure(inputs.attention)
    no_lead = ""
    if inputs.leaders is not None and "conditional_p" in inputs.leaders:
        no_lead = why_no_lead(inputs.leaders, settings.false_discovery_rate)
    return _shown(drawn) | {
        "no_lead": no_lead,
        "window_days": settings.window_days,
        "edges": "" if overview is None else overview.edges_in_words,
        "evidence_day": "" if overview is None or overview.evidence.empty else f"{overview.evidence['day'].iloc[0]:%Y-%m-%d}",
    }


def _shown(drawn: Mapping[str, Figure | None]) -> dict[str, Any]:
    return {name: None if figure is None else Markup(svg(figure, name.replace("_", "-"))) for name, figure in drawn.items()}


def _shrunk_family(inputs: ReportInputs) -> str | None:
    """The family whose shrinkage is drawn: the subject, or the first trained one where the subject forecasts nothing."""
    candidates = (inputs.subject, *inputs.experiment.retrain.families)
    return next((name for name in candidates if len(inputs.shrinkage.get(name, ())) and name in inputs.simulations), None)


def _without_keys(data_quality: pd.DataFrame | None) -> pd.DataFrame | None:
    """The table without the long asset key, where there is a symbol."""
    if data_quality is None or not {"asset_id", "symbol"} <= set(data_quality):
        return data_quality
    return data_quality.drop(columns="asset_id")
