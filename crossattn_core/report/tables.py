"""Rows of the page's tables, each cell a text; headings and layout are in ``templates``.

The headline table is also the terminal's and the UI's, all from ``report.json``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from crossattn_core.experiment import PlantedLead
from crossattn_core.grid import Grid
from crossattn_core.report.html import cell, format_metric, formatted, interval, is_absent, ratio, words

__all__ = [
    "HEADLINE",
    "accuracy_rows",
    "bucket_table",
    "decay_table",
    "forecast_rows",
    "frame_table",
    "headline",
    "headline_markdown",
    "headline_rows",
    "lead_lines",
    "metric_rows",
    "plan_table",
]

HEADLINE = ("strategy", "net return", "Sharpe [interval]", "max drawdown", "turnover / day", "costs", "IC")
"""Columns of the headline table."""
_HEADLINE_FORMS = {
    "net_return": "+.1%", "sharpe": "+.2f", "max_drawdown": ".1%", "turnover_per_day": ".1%", "cost_share": ".1%", "ic": "+.3f",
}  # fmt: skip

_SHOWN_RETRAINS = 20
_SHOWN_CANDIDATES = 12
_SIGNIFICANT = 0.05
_PLAN_COLUMNS = (
    "day", "family", "reason", "why", "regime", "train_start", "cut_off", "rows", "validation_loss", "model_id",
)  # fmt: skip


def headline_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One line a strategy, the subject first, written out; '-' where a number does not exist."""
    lines = []
    for name in report["order"]:
        numbers = report["strategies"][name]
        cells = {key: formatted(numbers[key], form) for key, form in _HEADLINE_FORMS.items()}
        if numbers["sharpe_low"] is not None:
            cells["sharpe"] += f" {interval(numbers['sharpe_low'], numbers['sharpe_high'])}"
        lines.append((words(name), *cells.values()))
    return lines


def headline(report: Mapping[str, Any]) -> Table:
    """The table as the terminal shows it, the verdict below."""
    table = Table(
        title=f"{report['experiment']}: {report['first']} .. {report['last']}, net of costs",
        caption=report["verdict"]["headline"],
        title_justify="left",
        caption_justify="left",
    )
    for place, column in enumerate(HEADLINE):
        table.add_column(escape(column), justify="left" if place == 0 else "right", no_wrap=True)
    for line in headline_rows(report):
        style = "bold" if line[0] == words(report["subject"]) else None
        table.add_row(*map(escape, line), style=style)
    return table


def headline_markdown(report: Mapping[str, Any]) -> str:
    """The table as Markdown, for metadata in the UI."""
    lines = [" | ".join(HEADLINE), " | ".join(["---"] + ["---:"] * (len(HEADLINE) - 1))]
    lines += [" | ".join(line) for line in headline_rows(report)]
    return "\n".join(f"| {line} |" for line in lines)


def metric_rows(strategies: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """One row a metric, one column a strategy."""
    metrics = [
        name
        for name, value in next(iter(strategies.values())).items()
        if not isinstance(value, dict) and name not in ("sharpe_low", "sharpe_high", "sharpe_less_benchmark")
    ]
    return [[words(name), *(format_metric(name, numbers[name]) for numbers in strategies.values())] for name in metrics]


def forecast_rows(forecast_quality: pd.DataFrame | None, grid: Grid) -> list[list[str]]:
    """Each measure of each family by horizon, averaged over assets, with its interval; then the range over assets."""
    if forecast_quality is None or not len(forecast_quality):
        return []
    is_average = forecast_quality["asset_id"] == "all"
    by_asset = forecast_quality[~is_average].dropna(subset="value").sort_values("value", kind="stable")
    rows = []
    for line in forecast_quality[is_average].to_dict("records"):
        beside = by_asset
        for key in ("family", "horizon", "measure"):
            beside = beside[beside[key] == line[key]]
        ends = beside.iloc[[0, -1]] if len(beside) else beside
        rows.append(
            [
                words(line["family"]),
                line["measure"],
                grid.label(line["horizon"]),
                formatted(line["value"], "+.3f"),
                interval(line["low"], line["high"], "+.3f") or "-",
                *([f"{_symbol(end.asset_id)} {end.value:+.3f}" for end in ends.itertuples()] or ["-", "-"]),
            ]
        )
    return rows


def accuracy_rows(tests: Sequence[Mapping[str, Any]], grid: Grid) -> list[list[str]]:
    """Diebold-Mariano tests: who has the smaller error at each horizon, and how sure that is."""
    rows = []
    for test in tests:
        first, second = words(test["first"]), words(test["second"])
        finding = "cannot be told apart"
        if is_absent(test["p_value"]):
            finding = "too few rows"
        elif test["p_value"] < _SIGNIFICANT:
            finding = f"{first if test['statistic'] < 0 else second} is more accurate"
        numbers = [ratio(test["statistic"]), formatted(test["p_value"], ".3f"), f"{test['rows']:,}"]
        rows.append([first, second, grid.label(test["horizon"]), *numbers, finding])
    return rows


def decay_table(decay: Sequence[Mapping[str, Any]], grid: Grid) -> dict[str, list]:
    """IC by bars ahead (``headings``), one row a family, each with half its interval."""
    ahead = list(dict.fromkeys(line["bars"] for line in decay))
    rows = []
    for family in dict.fromkeys(line["family"] for line in decay):
        by_bars = {line["bars"]: line for line in decay if line["family"] == family}
        cells = [
            "-" if is_absent(line["ic"]) else f"{line['ic']:+.3f} ±{line['high'] - line['ic']:.3f}"
            for line in (by_bars[bars] for bars in ahead)
        ]
        rows.append([words(family), *cells])
    return {"headings": [grid.label(bars) for bars in ahead], "rows": rows}


def bucket_table(buckets: Sequence[Mapping[str, Any]]) -> dict[str, list] | None:
    """Rank IC, returns by bucket and top less bottom in basis points, with t; one row a forecast. None without any."""
    if not buckets:
        return None
    headings = ["forecast", "decisions", "rank IC", "t", "low", *(str(q) for q in range(2, len(buckets[0]["bucket_returns"])))]
    headings += ["high", "monotonicity", "high less low", "t", "net of costs", "t"]
    rows = []
    for line in buckets:
        means = [*line["bucket_returns"], line["gross"], line["net"]]
        *by_bucket, gross, net = ("-" if is_absent(value) else f"{1e4 * value:+.1f}" for value in means)
        cells = [words(line["forecast"]), f"{line['decisions']:,}", formatted(line["rank_ic"], "+.3f"), ratio(line["rank_ic_t"])]
        cells += [*by_bucket, ratio(line["monotonicity"]), gross, ratio(line["gross_t"]), net, ratio(line["net_t"])]
        rows.append(cells)
    return {"headings": headings, "rows": rows}


def lead_lines(leaders: pd.DataFrame | None, planted: Sequence[PlantedLead] | None, grid: Grid) -> list[dict[str, Any]] | None:
    """Planted pairs and whether they were found, then what else was named; without truth, the strongest candidates.

    Keys: leader, follower, planted and lag (texts), verdict, whether it is good, evidence (attention, correlation, q, shares left
    from the next trade on and while the price moves, basis points gross and their cost). None
    where nobody looked for leads.
    """
    if planted is None:
        if leaders is None:
            return None
        # Stable: where many pairs share the largest q, those with the largest z stay first.
        ranked = leaders.astype({"named": bool}).sort_values(["named", "q_value"], ascending=[False, True], kind="stable")
        return [
            _lead(pair, grid, _named(pair) if pair["named"] else str(pair.get("why") or "not named"), good=bool(pair["named"]))
            for pair in ranked.head(_SHOWN_CANDIDATES).to_dict("records")
        ]
    pairs = [] if leaders is None else leaders.to_dict("records")
    named = {(_symbol(pair["leader"]), _symbol(pair["follower"])): pair for pair in pairs if pair["named"]}
    lines = []
    for lead in planted:
        pair = named.pop((lead.leader, lead.follower), None)
        verdict = "not found" if pair is None else "found"
        ends = {"leader": lead.leader, "follower": lead.follower}
        lines.append(_lead(pair or ends, grid, verdict, good=pair is not None, planted=grid.label(lead.lag)))
    for pair in named.values():
        # A group is named where none of its members can be told apart: right if the planted leader is one of them.
        inside = any(lead.follower == _symbol(pair["follower"]) and lead.leader in pair["members"] for lead in planted)
        verdict = "holds the planted leader" if inside else "named, not planted"
        lines.append(_lead(pair, grid, verdict, good=inside, planted="none"))
    return lines


def plan_table(plan: pd.DataFrame | None) -> dict[str, Any] | None:
    """The newest retrains, newest first, and how many there were; days that carried the model on are counted, not listed."""
    if plan is None or not len(plan):
        return None
    retrains = plan[plan["action"] == "retrain"].sort_values("day", ascending=False, kind="stable")
    table = frame_table(retrains[[name for name in _PLAN_COLUMNS if name in plan]].head(_SHOWN_RETRAINS))
    return {
        **(table or {"headings": [], "rows": [], "left": []}),
        "retrains": len(retrains),
        "carried": int((plan["action"] == "carry").sum()),
    }


def frame_table(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """A frame as it is: ``headings``, ``rows`` and the places of its texts, ``left``; none without rows."""
    if frame is None or not len(frame):
        return None
    return {
        "headings": [words(name) for name in frame.columns],
        "rows": [[cell(value) for value in line] for line in frame.itertuples(index=False)],
        "left": [place for place, name in enumerate(frame.columns) if not pd.api.types.is_numeric_dtype(frame[name])],
    }


def _lead(pair: Mapping[Any, Any], grid: Grid, verdict: str, *, good: bool, planted: str = "") -> dict[str, Any]:
    forms = {"weight": ".1%", "correlation": "+.3f", "q_value": ".3f"}
    forms |= {"next_trade_share": ".0%", "moving_share": ".0%", "gross_bps": "+.1f", "cost_bps": ".0f"}
    return {
        "leader": _symbol(pair["leader"]),
        "follower": _symbol(pair["follower"]),
        "planted": planted,
        "lag": grid.label(int(pair["lag"])) if "lag" in pair else "-",
        "verdict": verdict,
        "good": good,
        "evidence": [formatted(pair.get(name), form) for name, form in forms.items()],
    }


def _named(pair: Mapping[Any, Any]) -> str:
    """The verdict on a named lead: whether anybody who pays the venue's costs could trade on it."""
    tradable = pair.get("tradable")
    return "named" if tradable is None else "proven, tradable" if tradable else "proven, not tradable"


def _symbol(asset: Any) -> str:
    return str(asset).rsplit(":", 1)[-1]
