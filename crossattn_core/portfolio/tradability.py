"""Which assets can trade at a fill, as the calendar says in advance; whether a candle comes is known only then."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.trading_calendar import expected_bars

__all__ = ["expected_tradable"]

_HOUR = np.timedelta64(1, "h")


def expected_tradable(experiment: Experiment, fill_at_D: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """(D, N) whether the calendar calls for a candle that closes in the hour up to each fill.

    A decision uses this, so that it sends no order to a closed venue and plans around what it cannot change.
    """
    expected_DN = np.ones((len(fill_at_D), len(experiment.assets)), dtype=bool)
    if not len(fill_at_D):
        return expected_DN
    start, end = (fill_at_D[0] - _HOUR).astype("datetime64[us]").item(), fill_at_D[-1].astype("datetime64[us]").item()
    for calendar in dict.fromkeys(asset.calendar for asset in experiment.assets):
        closed_at = expected_bars(calendar, start, end).closed_T
        newest_D = np.searchsorted(closed_at, fill_at_D, side="right")
        before_D = np.searchsorted(closed_at, fill_at_D - _HOUR, side="right")
        on_calendar_N = np.array([asset.calendar == calendar for asset in experiment.assets])
        expected_DN[:, on_calendar_N] = (newest_D > before_D)[:, None]
    return expected_DN
