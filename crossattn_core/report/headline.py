"""The headline table, for the page, for the terminal and for the UI, all from ``report.json``."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from crossattn_core.report.html import formatted, interval, words

__all__ = ["HEADLINE", "headline", "headline_markdown", "headline_rows"]

HEADLINE = ("strategy", "net return", "Sharpe [interval]", "max drawdown", "turnover / day", "costs", "IC")
"""Columns of the headline table."""


def headline_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One line a strategy, the subject first, written out; '-' where a number does not exist."""
    lines = []
    for name in report["order"]:
        numbers = report["strategies"][name]
        sharpe = formatted(numbers["sharpe"], "+.2f")
        if numbers["sharpe_low"] is not None:
            sharpe += f" {interval(numbers['sharpe_low'], numbers['sharpe_high'])}"
        lines.append(
            (
                words(name),
                formatted(numbers["net_return"], "+.1%"),
                sharpe,
                formatted(numbers["max_drawdown"], ".1%"),
                formatted(numbers["turnover_per_day"], ".1%"),
                formatted(numbers["cost_share"], ".1%"),
                formatted(numbers["ic"], "+.3f"),
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
        style = "bold" if line[0] == words(report["subject"]) else None
        table.add_row(*map(escape, line), style=style)
    return table


def headline_markdown(report: Mapping[str, Any]) -> str:
    """The table as Markdown, for metadata in the UI."""
    lines = [" | ".join(HEADLINE), " | ".join(["---"] + ["---:"] * (len(HEADLINE) - 1))]
    lines += [" | ".join(line) for line in headline_rows(report)]
    return "\n".join(f"| {line} |" for line in lines)
