"""The newest day: what the plan decides before the walk has stepped it, how forecasts turned out lately, and what is missing.

The outlook calls the same pure function as the walk, on the same facts, so that a sensor launches a run with the reason that
the run itself will find.

Axes: T rows of the panel, D days, N assets, K sums of an IC (see selection/champion.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.days import days_between
from crossattn_core.experiment import Experiment
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.daily import REGIME_NAMES
from crossattn_core.regimes.market_days import panel_days
from crossattn_core.selection.champion import daily_ic_sums
from crossattn_core.stats.ic import mean_ic_of_sums
from crossattn_core.walk_forward.overrides import read_overrides
from crossattn_core.walk_forward.past import Past
from crossattn_core.walk_forward.plan import Decision
from crossattn_core.walk_forward.state import State
from crossattn_core.walk_forward.store import linked_days, read_forecasts

__all__ = ["BASELINE_SIGNAL", "Freshness", "Outlook", "freshness", "outlook", "rolling_ic"]

BASELINE_SIGNAL = "momentum"
"""The forecast that every family has to beat for free: the trailing return goes on."""


@dataclass(frozen=True)
class Outlook:
    """What is known of the newest complete day of the panel."""

    day: date
    due: tuple[date, ...]
    """Days that the walk has to step, or step again, up to ``day``; empty when none is stale."""
    decision: Decision
    """The plan's decision at ``day`` 00:00: evaluated before the walk, or as the walk recorded it."""
    regime: str
    """Name of the regime in force at ``day`` 00:00, 'unknown' before the first."""
    drift: float
    ic_gap: float


@dataclass(frozen=True)
class Freshness:
    """Whether the newest day that should be there is there."""

    expected: date
    newest: date | None
    missing: tuple[date, ...]
    """Days of the period, up to the expected one, that are not there."""

    @property
    def is_fresh(self) -> bool:
        """Whether the expected day itself is there, whatever was filled in last."""
        return self.expected not in self.missing


def outlook(home: Home, experiment: Experiment, panel: Panel, due: Sequence[date]) -> Outlook | None:
    """Look at the newest complete day of ``panel``; none where it holds no complete day.

    Args:
        due: days whose walk is missing or made from something else. Where days before the newest are among them, the newest
            is planned from a state that does not exist yet: the decision is to wait for them.
    """
    days = panel_days(panel)
    if not days:
        return None
    day = days[-1]
    due = tuple(behind for behind in due if behind <= day)
    records = {record["day"]: record for record in linked_days(home)}
    recorded = records.get(day.isoformat())
    if recorded is not None and day not in due:
        row = recorded["rows"][0]
        decision = Decision(row["action"], row["reason"], row["why"])
        drift, ic_gap = (float("nan") if row[name] is None else row[name] for name in ("drift", "ic_gap"))
        return Outlook(day, due, decision, _regime_name(row["regime"]), drift, ic_gap)
    before = records.get((day - timedelta(days=1)).isoformat())
    if due and due[0] < day:
        why = f"{len(due) - 1} days before {day} are to be stepped first, from {due[0]}"
        return Outlook(day, due, Decision("wait", "none", why), "unknown", float("nan"), float("nan"))
    state = State.from_json(before["state"]) if before else State()
    overrides = [override for override in read_overrides(home) if override.day == day]
    start = Past(home, experiment, panel, load_model).start(day, state, overrides)
    return Outlook(day, due, start.decision, _regime_name(start.in_force.regime), start.drift, start.ic_gap)


def rolling_ic(home: Home, experiment: Experiment, panel: Panel) -> pd.DataFrame:
    """Trailing IC at the traded horizon over ``retrain.degraded_days``: one row a day, a column a family and the baseline.

    Day D counts the outcomes that were known at D+1 00:00. NaN while too little is realised.
    """
    days, labels = panel_days(panel), experiment.labels
    if not days:
        return pd.DataFrame()
    computed = compute_labels(panel, labels)
    h = labels.horizons.index(labels.trade_horizon)
    forecasts = read_forecasts(home, days[0], days[-1])
    signals: dict[str, NDArray[np.floating]] = {
        family: forecast_array(forecasts, panel, family, labels.trade_horizon) for family in experiment.retrain.families
    }
    signals[BASELINE_SIGNAL] = _trailing_return(panel, panel.grid.bars(experiment.baselines.momentum_hours))
    day_D = np.array(days, dtype="datetime64[D]")
    window = experiment.retrain.degraded_days
    columns = {}
    for name, signal_TN in signals.items():
        sums_DNK = daily_ic_sums(signal_TN, computed.value_TNH[:, :, h], computed.end_TNH[:, :, h], panel.as_of_T, day_D)
        total_DNK = np.cumsum(sums_DNK, axis=0)
        total_DNK[window:] -= total_DNK[:-window].copy()
        columns[name] = mean_ic_of_sums(total_DNK)
    return pd.DataFrame(columns, index=pd.DatetimeIndex(day_D).as_unit("us"))


def freshness(first: date, expected: date, present: set[date]) -> Freshness:
    """Compare the days that are there with those that should be.

    An old day that is filled in again makes nothing fresh.
    """
    missing = tuple(day for day in days_between(first, expected) if day not in present)
    return Freshness(expected, max(present, default=None), missing)


def _trailing_return(panel: Panel, bars: int) -> NDArray[np.float64]:
    signal_TN = np.full(panel.mark_price_TN.shape, np.nan)
    signal_TN[bars:] = np.log(panel.mark_price_TN[bars:] / panel.mark_price_TN[:-bars])
    return signal_TN


def _regime_name(regime: int) -> str:
    return REGIME_NAMES[regime] if regime >= 0 else "unknown"
