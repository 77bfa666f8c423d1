"""The headline table, for the page, for the terminal and for the UI, all from ``report.json``."""

import math
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

__all__ = ["HEADLINE", "headline", "headline_markdown", "headline_rows"]

HEADLINE = ("strategy", "net return", "Sharpe [interval]", "max drawdown", "turnover / day", "costs", "IC")
"""Columns of the headline table."""


def headline_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One line a strategy, the subject first, written out; '-' where a number does not exist."""
    lines = []
    for name in report["order"]:
        numbers = report["strategies"][name]
        interval = _text(numbers["sharpe"], "+.2f")
        if numbers["sharpe_low"] is not None:
            interval += f" [{_text(numbers['sharpe_low'], '+.2f')}, {_text(numbers['sharpe_high'], '+.2f')}]"
        lines.append(
            (
                name.replace("_", " "),
                _text(numbers["net_return"], "+.1%"),
                interval,
                _text(numbers["max_drawdown"], ".1%"),
                _text(numbers["turnover_per_day"], ".1%"),
                _text(numbers["cost_share"], ".1%"),
                _text(numbers["ic"], "+.3f"),
            )
        )
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
        style = "bold" if line[0] == report["subject"].replace("_", " ") else None
        table.add_row(*map(escape, line), style=style)
    return table


def headline_markdown(report: Mapping[str, Any]) -> str:
    """The table as Markdown, for metadata in the UI."""
    lines = [" | ".join(HEADLINE), " | ".join(["---"] + ["---:"] * (len(HEADLINE) - 1))]
    lines += [" | ".join(line) for line in headline_rows(report)]
    return "\n".join(f"| {line} |" for line in lines)


def _text(value: float | None, form: str) -> str:
    return "-" if value is None or (isinstance(value, float) and math.isnan(value)) else format(value, form)
