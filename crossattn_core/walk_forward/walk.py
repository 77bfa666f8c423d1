"""The walk-forward: day by day, retrain or carry, then forecast the day with the model in force at its start.

    step_day(home, experiment, panel, day)        one day (and any earlier day that is missing)
    walk(home, experiment, panel, first, last)    a backfill: the same days, one after the other, resumable

Day D decides at D 00:00 from rows with as_of <= D 00:00 and forecasts every as_of in (D 00:00, D+1 00:00]. A stored day
is reused while the hash of what it was made from (panel up to D+1 00:00, settings, events, the day before) is
today's; so a backfill, a resumed one and daily live steps end in the same bits.
"""

from collections.abc import Callable, Iterator
from datetime import date

from crossattn_core.days import days_between
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.day_result import DayResult, EpochOfDay, Fit, Load
from crossattn_core.walk_forward.leak_check import check_no_forecast_saw_its_label
from crossattn_core.walk_forward.step import Walker
from crossattn_core.walk_forward.store import read_forecasts, read_plan

__all__ = [
    "DayResult",
    "EpochOfDay",
    "check_no_forecast_saw_its_label",
    "read_forecasts",
    "read_plan",
    "silent_epochs",
    "step_day",
    "walk",
]


def silent_epochs(epoch: EpochOfDay) -> None:
    """Report nothing."""


def step_day(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    day: date,
    *,
    report: Callable[[EpochOfDay], None] = silent_epochs,
    fit: Fit = fit_model,
    load: Load = load_model,
) -> DayResult:
    """Step one day; earlier days that are missing or stale are stepped first.

    Args:
        panel: rows from the experiment's first day on; it may end within ``day`` (the rest of the day's forecasts follow
            when it is stepped again) or after it (nothing later is read).

    Raises:
        HistoryError: the panel holds no row of ``day``.
    """
    return list(walk(home, experiment, panel, day, day, report=report, fit=fit, load=load))[-1]


def walk(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    first: date,
    last: date,
    *,
    report: Callable[[EpochOfDay], None] = silent_epochs,
    fit: Fit = fit_model,
    load: Load = load_model,
) -> Iterator[DayResult]:
    """Step the days first..last, yielding each as it is stored; a day that still stands is reused.

    The walk always starts with the panel's first day: a day cannot be known before the days that led to it. Stopped
    anywhere, it goes on where it stopped.

    Raises:
        HistoryError: the panel does not reach from ``first`` to ``last``.
    """
    walker = Walker(home, experiment, panel, report, fit, load)
    known_days = list(walker.chain)
    if not known_days or first < known_days[0] or last > known_days[-1]:
        held = f"{known_days[0]} .. {known_days[-1]}" if known_days else "nothing"
        raise HistoryError(f"walk-forward asked for {first} .. {last}, the panel holds {held}; export those days first")
    for day in days_between(known_days[0], last):
        result = walker.step(day)
        if day >= first:
            yield result
