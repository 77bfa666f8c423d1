"""The report: one self-contained HTML page, and the same numbers as JSON and Parquet. Equal inputs give equal bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
from markupsafe import Markup

from crossattn_core.experiment import PlantedLead
from crossattn_core.report import html_tables as html
from crossattn_core.report.attention_section import attention_section
from crossattn_core.report.figures import performance as figures
from crossattn_core.report.headline import HEADLINE, headline_rows
from crossattn_core.report.inputs import AttentionSummary, ReportInputs
from crossattn_core.report.numbers import report_numbers
from crossattn_core.report.template import PAGE
from crossattn_core.storage import write_json, write_parquet, write_text

__all__ = ["AttentionSummary", "ReportInputs", "ReportPaths", "build_report", "render"]


@dataclass(frozen=True)
class ReportPaths:
    """Where the report lies."""

    html: Path
    json: Path
    returns: Path


def build_report(inputs: ReportInputs, folder: Path) -> ReportPaths:
    """Write ``report.html``, ``report.json`` and ``returns.parquet`` into ``folder``.

    ``returns.parquet`` holds every strategy's hourly equity, net return, exposures, turnover and costs; its ``net_return`` by
    ``as_of`` is what other tear-sheet tools ask for.

    Raises:
        BacktestError: no simulation of the subject, or simulations over different rows.
    """
    numbers = report_numbers(inputs)
    hourly = pd.concat([simulation.hourly() for simulation in inputs.simulations.values()], ignore_index=True)
    return ReportPaths(
        html=write_text(folder / "report.html", render(inputs, numbers)),
        json=write_json(folder / "report.json", numbers),
        returns=write_parquet(folder / "returns.parquet", pa.Table.from_pandas(hourly, preserve_index=False)),
    )


def render(inputs: ReportInputs, numbers: dict[str, Any]) -> str:
    """The page's HTML from the inputs and their ``report_numbers``."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    experiment, tables = inputs.experiment, _tables(inputs, numbers)
    return environment.from_string(PAGE).render(
        r=numbers | {"title": experiment.report.title, "symbols": experiment.symbols},
        cards=_cards(numbers),
        headline_columns=HEADLINE,
        headline_lines=_headline_lines(numbers),
        horizon=experiment.labels.trade_horizon,
        prior=f"{experiment.portfolio.shrinkage:.0%}",
        regimes_known=inputs.regime_windows is not None and len(inputs.regime_windows) > 0,
        svg=_figures(inputs),
        believing=_believing(inputs),
        tables=tables,
        attention_section=attention_section(inputs, tables["leaders"]),
        words=html.words,
    )


def _figures(inputs: ReportInputs) -> dict[str, Markup | None]:
    subject, benchmark, simulations = inputs.subject, inputs.benchmark, inputs.simulations
    own = simulations[subject]
    ordered = {name: simulations[name] for name in dict.fromkeys([subject, benchmark, *simulations]) if name in simulations}
    drawn = {
        "equity": figures.equity_figure(ordered, subject, benchmark),
        "underwater": figures.underwater_figure(ordered, subject, benchmark),
        "rolling": figures.rolling_sharpe_figure(ordered, subject, benchmark),
        "costs": figures.cost_figure(own),
        "contribution": figures.contribution_figure(own, inputs.experiment.symbols),
        "exposure": figures.exposure_figure(own),
        "belief": None,
        "retrains": None,
    }
    if (family := _believing(inputs)) is not None:
        drawn["belief"] = figures.belief_figure(simulations[family], np.asarray(inputs.beliefs[family]))
    if inputs.plan is not None and (inputs.plan["action"] == "retrain").any():
        drawn["retrains"] = figures.retrain_figure(inputs.plan, inputs.regime_windows, own.as_of_T[0], own.as_of_T[-1])
    return {name: None if figure is None else Markup(figures.svg(figure, name)) for name, figure in drawn.items()}


def _tables(inputs: ReportInputs, numbers: dict[str, Any]) -> dict[str, Any]:
    percent, ratio = html.percent, html.ratio
    own, beside = html.words(inputs.subject), html.words(inputs.benchmark)
    kinds = ("year", "regime", "venue", "asset", "month")
    by_kind = {kind: [line for line in numbers["parts"] if line["kind"] == kind] for kind in kinds}
    over_time: list[tuple[str, str, html.Form]] = [
        ("days", "days", lambda days: f"{days:.0f}"),
        ("net_return", own, percent),
        ("sharpe", "Sharpe", ratio),
        ("max_drawdown", "max drawdown", percent),
        ("benchmark_return", beside, percent),
        ("benchmark_sharpe", "Sharpe", ratio),
    ]
    return {
        "sensitivity": html.records_table(
            numbers["sensitivity"],
            [
                ("scenario", "scenario", str),
                ("net_return", "net return", percent),
                ("sharpe", "Sharpe", ratio),
                ("max_drawdown", "max drawdown", percent),
            ],
        ),
        "regimes": html.records_table(by_kind["regime"], [("part", "regime", str), *over_time])
        if by_kind["regime"]
        else html.missing("No regime windows were handed to this report."),
        "years": html.records_table(by_kind["year"], [("part", "year", str), *over_time]),
        "parts": {kind: html.parts_table(lines, kind) for kind, lines in by_kind.items()},
        "accuracy": html.accuracy_table(numbers["accuracy_tests"]),
        "decay": html.decay_table(numbers["decay"], numbers["confidence"]),
        "significance": html.significance_table(numbers["significance"], numbers["confidence"]),
        "beside": html.records_table(
            [{"name": html.words(name), **line} for name, line in numbers["beside"].items() if line["correlation"] is not None],
            [
                ("name", "baseline", str),
                ("alpha", "alpha, annual", percent),
                ("alpha_t", "t of alpha", ratio),
                ("beta", "beta", ratio),
                ("correlation", "correlation", ratio),
                ("tracking_error", "tracking error", percent),
                ("information_ratio", "information ratio", ratio),
            ],
        ),
        "venues": _group_table(by_kind["venue"], "venue", count=True),
        "assets": _group_table(by_kind["asset"], "asset", count=False),
        "worst": html.records_table(
            numbers["worst_days"],
            [
                ("day", "day", str),
                ("moved_by", "moved most by (average weight, share of equity)", str),
                ("net_return", "net return", percent),
            ],
            left=2,
        ),
        "months": html.months_table(numbers["months"]),
        "leaders": html.leader_table(inputs.leaders, _planted_here(inputs)),
        "forecasts": html.forecast_table(inputs.forecast_quality),
        "plan": html.plan_table(inputs.plan),
        "metrics": html.metrics_table(numbers["strategies"]),
        "quality": html.plain_table(_without_keys(inputs.data_quality), "No data-quality table was handed to this report."),
    }


def _believing(inputs: ReportInputs) -> str | None:
    """The family whose believed share is drawn: the subject, or the first trained one where the subject forecasts nothing."""
    wanted = (inputs.subject, *inputs.experiment.retrain.families)
    return next((name for name in wanted if len(inputs.beliefs.get(name, ())) and name in inputs.simulations), None)


def _group_table(lines: list[dict[str, Any]], name: str, *, count: bool) -> Markup:
    percent = html.percent
    columns: list[tuple[str, str, html.Form]] = [
        ("part", name, str),
        *([("assets", "assets", str)] if count else []),
        ("net_contribution", "net contribution", percent),
        ("sharpe", "Sharpe", html.ratio),
        ("annual_volatility", "volatility", lambda value: percent(value).lstrip("+")),
        ("max_drawdown", "max drawdown", percent),
        ("cost_share", "costs", percent),
        ("average_gross_exposure", "gross exposure", percent),
        ("average_net_exposure", "net exposure", percent),
        ("trades", "trades", lambda trades: f"{trades:,}"),
    ]
    return html.records_table(lines, columns)


def _without_keys(data_quality: pd.DataFrame | None) -> pd.DataFrame | None:
    """The table without the long asset key, where the symbol says the same."""
    if data_quality is None or not {"asset_id", "symbol"} <= set(data_quality):
        return data_quality
    return data_quality.drop(columns="asset_id")


def _planted_here(inputs: ReportInputs) -> list[PlantedLead] | None:
    """The planted leads between assets of this universe."""
    if inputs.planted is None:
        return None
    known = set(inputs.experiment.symbols)
    return [lead for lead in inputs.planted if lead.leader in known and lead.follower in known]


def _headline_lines(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for cells, name in zip(headline_rows(numbers), numbers["order"], strict=True):
        apart = numbers["strategies"][name]["sharpe_less_benchmark"]
        told = "-"
        if apart is not None and apart["estimate"] is not None and apart["low"] is not None:
            told = f"{apart['estimate']:+.2f} [{apart['low']:+.2f}, {apart['high']:+.2f}]"
        lines.append({"cells": cells, "own": name == numbers["subject"], "difference": told})
    return lines


def _cards(numbers: dict[str, Any]) -> list[dict[str, str]]:
    own = numbers["strategies"][numbers["subject"]]
    beside = numbers["strategies"].get(numbers["benchmark"])
    name = html.words(numbers["benchmark"])

    def versus(key: str, form: str) -> str:
        return "" if beside is None or beside[key] is None else f"{name} {beside[key]:{form}}"

    interval = "" if own["sharpe_low"] is None else f"[{own['sharpe_low']:+.2f}, {own['sharpe_high']:+.2f}]"
    spread = "" if own["ic_low"] is None else f"[{own['ic_low']:+.3f}, {own['ic_high']:+.3f}]"
    return [
        {"label": "Net return", "value": html.percent(own["net_return"]), "beside": versus("net_return", "+.1%")},
        {"label": "Sharpe ratio", "value": html.ratio(own["sharpe"]), "beside": interval},
        {"label": "Max drawdown", "value": html.percent(own["max_drawdown"]), "beside": versus("max_drawdown", "+.1%")},
        {
            "label": "Volatility, annual",
            "value": html.percent(own["annual_volatility"]).lstrip("+"),
            "beside": versus("annual_volatility", ".1%"),
        },
        {
            "label": "Costs, share of capital",
            "value": html.percent(own["cost_share"]).lstrip("+"),
            "beside": "" if own["turnover_per_day"] is None else f"{own['turnover_per_day']:.1%} turned a day",
        },
        {"label": "IC", "value": "-" if own["ic"] is None else f"{own['ic']:+.3f}", "beside": spread},
    ]
