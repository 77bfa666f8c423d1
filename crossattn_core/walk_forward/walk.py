"""The walk-forward: day by day, retrain or carry, then forecast the day with the model in force at its start.

Day D decides at D 00:00 from rows with as_of <= D 00:00 and forecasts every as_of in (D 00:00, D+1 00:00]. A stored day
is reused while the hash of what it was made from (panel up to D+1 00:00, settings, code, overrides, the day before) is
today's; so a backfill, a resumed one and daily live steps end in the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

from crossattn_core.compute.pool import Pool
from crossattn_core.days import days_between
from crossattn_core.errors import HistoryError, PrunedModelError
from crossattn_core.experiment import Experiment
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.progress import silent
from crossattn_core.walk_forward.ahead import FitsAhead
from crossattn_core.walk_forward.day import DayResult, EpochOfDay, Fit, Walker
from crossattn_core.walk_forward.past import Load

__all__ = ["DayResult", "EpochOfDay", "walk"]


def walk(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    first: date,
    last: date,
    *,
    report: Callable[[EpochOfDay], None] = silent,
    fit: Fit = fit_model,
    load: Load = load_model,
    codes: Sequence[str] = ("",),
    pool: Pool | None = None,
    refit: bool = False,
) -> Iterator[DayResult]:
    """Step the days first..last, yielding each as it is stored; a day whose inputs are the stored ones is reused.

    The walk always starts with the panel's first day: a day cannot be known before the days that led to it. Stopped
    anywhere, it goes on where it stopped.

    Args:
        panel: rows from the experiment's first day on; it may end within ``last`` (the rest of the day's forecasts follow
            when it is stepped again) or after it (nothing later is read).
        report: called after each epoch of each fit.
        fit: fits one family on one request.
        load: reads a checkpoint that the fit stored.
        codes: hash of the code that runs, then those of versions that were accepted as giving the same; a day that was
            stepped with another one is stepped again. Empty: code does not count.
        pool: makes fits before they are asked for, the same ones; none: each is made when it is asked for.
        refit: fit models again whose weights are no longer kept; done anyway where a day that has to be made needs one.

    Raises:
        HistoryError: the panel does not reach from ``first`` to ``last``.
    """
    walker = Walker(home, experiment, panel, report, fit, load, codes, refit)
    known_days = list(walker.past.chain)
    if not known_days or first < known_days[0] or last > known_days[-1]:
        held = f"{known_days[0]} .. {known_days[-1]}" if known_days else "nothing"
        raise HistoryError(f"walk-forward over {first} .. {last}: the panel holds {held}; export those days first")
    ahead = _look_ahead(walker, last, pool)
    try:
        for day in days_between(known_days[0], last):
            try:
                result = walker.step(day)
            except PrunedModelError:
                if walker.refit:
                    raise
                if ahead is not None:
                    ahead.close()
                walker = Walker(home, experiment, panel, report, fit, load, codes, refit=True)
                ahead = _look_ahead(walker, last, pool)
                result = [walker.step(again) for again in days_between(known_days[0], day)][-1]
            if day >= first:
                yield result
    finally:
        if ahead is not None:
            ahead.close()


def _look_ahead(walker: Walker, last: date, pool: Pool | None) -> FitsAhead | None:
    """Let the pool make the walker's fits before it asks for them; none without a pool."""
    if pool is None:
        return None
    ahead = FitsAhead(walker, last, pool)
    walker.fit = ahead
    return ahead
