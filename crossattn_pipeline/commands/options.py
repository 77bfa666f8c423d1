"""Options that several commands share, and the line that they open.

Every command imports what it runs when it runs: ``--help`` waits for none of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossattn_core.errors import CrossattnError, UniverseError
from crossattn_pipeline.commands.terminal import Output, reporting

if TYPE_CHECKING:
    from crossattn_core.line import Line
    from crossattn_core.universe import Asset

__all__ = [
    "AsJson",
    "Day",
    "End",
    "ExperimentFile",
    "HomeFolder",
    "Start",
    "Symbols",
    "chosen_assets",
    "complete_days",
    "day_of",
    "listed",
    "named_asset",
    "open_line",
    "reporting_line",
]

ExperimentFile = Annotated[
    Path | None, typer.Option("--experiment", help="Experiment file; else CROSSATTN_EXPERIMENT, else experiments/demo.yaml.")
]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="Home folder; else CROSSATTN_HOME, else .crossattn.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, for machines.")]
Symbols = Annotated[str, typer.Option(help="Comma-separated symbols of the experiment; all when empty.")]
Start = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day; else the period's.")]
End = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day, inclusive; else the period's, or the newest complete.")
]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC), seen from its end; else the newest.")]


def listed(symbols: str) -> tuple[str, ...]:
    """The names in ``--symbols``, each once.

    Raises:
        UniverseError: something is given that names nothing.
    """
    names = tuple(dict.fromkeys(name.strip() for name in symbols.split(",") if name.strip()))
    if symbols and not names:
        raise UniverseError(f"--symbols {symbols!r} names no symbol; leave it out for all")
    return names


def open_line(experiment: Path | None, home: Path | None, symbols: str = "", overrides: dict[str, Any] | None = None) -> Line:
    """The line of the chosen (or the environment's) experiment and home; ``symbols`` narrows the universe.

    Raises:
        ExperimentError, UniverseError, HomeError: as their messages say.
    """
    from crossattn_core.experiment import load_experiment
    from crossattn_core.home import open_home
    from crossattn_core.line import Line
    from crossattn_pipeline.instance import experiment_path, home_from

    chosen = load_experiment(experiment_path(os.environ, experiment), overrides)
    names = listed(symbols)
    chosen = chosen.select(names) if names else chosen
    return Line(chosen, open_home(home_from(os.environ, home), chosen))


@contextmanager
def reporting_line(
    output: Output,
    experiment: Path | None,
    home: Path | None,
    symbols: str = "",
    overrides: dict[str, Any] | None = None,
) -> Iterator[Line]:
    """``open_line``, whose progress goes to ``output`` for the length of the block."""
    line = open_line(experiment, home, symbols, overrides)
    with reporting(output.console, as_json=output.as_json) as report:
        line.report = report
        yield line


def complete_days(line: Line, start: datetime | None, end: datetime | None) -> tuple[date, date]:
    """First and last day of ``--start`` and ``--end``, by default of all that is complete.

    Raises:
        CrossattnError: a day lies outside the experiment's complete days, or they are not in order.
    """
    first = start.date() if start else line.experiment.period.start
    last = end.date() if end else line.last_day
    if not line.experiment.period.start <= first <= last <= line.last_day:
        raise CrossattnError(
            f"range {first} .. {last} does not lie within the experiment's complete days "
            f"{line.experiment.period.start} .. {line.last_day}; choose days in it"
        )
    return first, last


def day_of(line: Line, day: datetime | None) -> date:
    """The day of ``--day``, by default the newest that is complete.

    Raises:
        CrossattnError: it lies outside the experiment's complete days.
    """
    first, last = line.experiment.period.start, line.last_day
    chosen = day.date() if day else last
    if not first <= chosen <= last:
        raise CrossattnError(
            f"--day {chosen} does not lie within the experiment's complete days {first} .. {last}; choose a day in it"
        )
    return chosen


def named_asset(line: Line, symbol: str) -> Asset:
    """The one asset of the experiment with this symbol or key.

    Raises:
        UniverseError: there is none, or more than one.
    """
    named = [asset for asset in line.experiment.assets if symbol in (asset.symbol, asset.asset_id)]
    if len(named) != 1:
        known = ", ".join(asset.asset_id for asset in (named or line.experiment.assets))
        raise UniverseError(f"{symbol!r} names {len(named)} assets of the experiment; choose from {known}")
    return named[0]


def chosen_assets(line: Line, symbols: str) -> list[Asset]:
    """The assets of ``--symbols``, by default all."""
    return [named_asset(line, name) for name in listed(symbols)] or list(line.experiment.assets)
