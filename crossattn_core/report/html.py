"""How the page is written: the folder of templates, and how a number or a name becomes text in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from crossattn_core.backtest.metrics.registry import Unit, unit_of
from crossattn_core.grid import Grid
from crossattn_core.page_templates import page_templates

__all__ = [
    "bars_in_words",
    "cell",
    "format_metric",
    "formatted",
    "interval",
    "is_absent",
    "percent",
    "ratio",
    "render",
    "share",
    "spelled",
    "whole",
    "words",
]


def render(template: str, **context: Any) -> str:
    """The page made from ``templates/<template>``: text is escaped, a name that is not in the context is an error."""
    return _TEMPLATES.get_template(template).render(context)


def percent(value: Any) -> str:
    """+1.2%, 0.0% without a sign, '-' where there is none."""
    return "-" if is_absent(value) else f"{0.0 if abs(value) < 0.0005 else value:+.1%}".replace("+0.0%", "0.0%")


def share(value: float | None) -> str:
    """1.2%: ``percent`` without a plus."""
    return percent(value).lstrip("+")


def ratio(value: Any) -> str:
    """+1.23, 0.00 without a sign, '-' where there is none."""
    return "-" if is_absent(value) else f"{0.0 if abs(value) < 0.005 else value:+.2f}".replace("+0.00", "0.00")


def formatted(value: float | None, form: str) -> str:
    """``format(value, form)``, '-' where there is none."""
    return "-" if is_absent(value) else format(value, form)


def whole(value: float | None) -> str:
    """1,234, '-' where there is none."""
    return formatted(value, ",.0f")


def interval(low: float | None, high: float | None, form: str = "+.2f") -> str:
    """[-0.10, +0.20], nothing where it is not known."""
    return "" if is_absent(low) or is_absent(high) else f"[{low:{form}}, {high:{form}}]"


def words(name: Any) -> str:
    """A name from code as a reader's words: ``equal_weight`` -> ``equal weight``."""
    return str(name).replace("_", " ")


def format_metric(name: str, value: Any) -> str:
    """A metric in the unit that its registry names, '-' where there is none."""
    return "-" if is_absent(value) else _FORM_OF_UNIT[unit_of(name)](value)


def cell(value: Any) -> str:
    """Any value of a frame: four digits of a float, a date without its midnight, '-' for nothing."""
    if is_absent(value):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.4g}"
    if hasattr(value, "strftime"):
        return str(value).removesuffix(" 00:00:00").removesuffix(":00")
    return str(value)


def bars_in_words(grid: Grid) -> str:
    """Bars as a reader counts them: hours, days, or "bars of 5 minutes"."""
    return {"1m": "minutes", "1h": "hours", "1d": "days"}.get(grid.bar, f"bars of {grid.words()}")


def spelled(label: str) -> str:
    """``Grid.label`` before a noun: "24 h" -> "24-hour"."""
    count, unit = label.split()
    return f"{count}-{_UNITS[unit]}"


def is_absent(value: Any) -> bool:
    """None, NaN or NaT."""
    return value is None or (not isinstance(value, str | list | tuple | dict) and bool(pd.isna(value)))


_UNITS = {"min": "minute", "h": "hour", "d": "day"}
_FORM_OF_UNIT: dict[Unit, Callable[[Any], str]] = {
    "fraction": lambda value: f"{value + 0.0:.1%}".replace("-0.0%", "0.0%"),
    "ratio": lambda value: f"{value:.3f}",
    "days": whole,
    "hours": whole,
    "count": whole,
    "flag": lambda value: "yes" if value else "no",
}

_TEMPLATES = page_templates(Path(__file__).parent / "templates")
_TEMPLATES.globals.update(
    formatted=formatted, interval=interval, percent=percent, ratio=ratio, share=share, text=str, whole=whole, words=words
)
