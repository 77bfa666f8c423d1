"""Which assets a decision can trade, from what is known at it: the age of the newest candle, and the calendar of the fill.

Axes: D decisions, N assets.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.trading_calendar import expected_bars

__all__ = ["open_at_fill", "readable"]


def readable(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.bool_]:
    """(D, N) whether the asset's newest candle was young enough at each row to hold it at all."""
    age_DN = past_panel.age_hours_TN[rows_D]
    return np.isfinite(past_panel.mark_price_TN[rows_D]) & (age_DN <= experiment.features.max_age_hours)


def open_at_fill(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.bool_]:
    """(D, N) whether the calendar calls for a candle that closes in the bar up to the fill of each decision.

    Known in advance, so that a decision sends no order to a closed venue and plans around what it cannot change; whether the
    candle comes is known only at the fill.
    """
    step = past_panel.grid.step_us
    fill_at_D = past_panel.as_of_T[rows_D] + experiment.labels.execution_lag * step
    open_DN = np.ones((len(fill_at_D), len(experiment.assets)), dtype=bool)
    if not len(fill_at_D):
        return open_DN
    start, end = (fill_at_D[0] - step).astype("datetime64[us]").item(), fill_at_D[-1].astype("datetime64[us]").item()
    for calendar in dict.fromkeys(asset.calendar for asset in experiment.assets):
        closed_at = expected_bars(calendar, start, end, experiment.candle_grid.step).closed_T
        newest_D = np.searchsorted(closed_at, fill_at_D, side="right")
        before_D = np.searchsorted(closed_at, fill_at_D - step, side="right")
        on_calendar_N = np.array([asset.calendar == calendar for asset in experiment.assets])
        open_DN[:, on_calendar_N] = (newest_D > before_D)[:, None]
    return open_DN
