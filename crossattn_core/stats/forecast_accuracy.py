"""Whether two forecasts are equally accurate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.stats.newey_west import newey_west_variance

__all__ = ["DieboldMariano", "diebold_mariano"]


@dataclass(frozen=True)
class DieboldMariano:
    """Equal accuracy of two forecasts. A negative statistic: the first has the smaller loss."""

    statistic: float
    p_value: float
    rows: int


def diebold_mariano(first_loss_T: NDArray[np.float64], second_loss_T: NDArray[np.float64], horizon: int = 1) -> DieboldMariano:
    """Diebold and Mariano (1995) on losses row by row, with the small-sample correction of Harvey et al. (1997).

    Losses of ``horizon``-step forecasts overlap: the variance counts autocovariances up to ``horizon`` - 1, with Bartlett
    weights so that it stays positive. Rows where either loss is NaN are left out.
    """
    known_T = np.isfinite(first_loss_T) & np.isfinite(second_loss_T)
    difference_T = first_loss_T[known_T] - second_loss_T[known_T]
    rows = len(difference_T)
    if rows <= horizon + 1:
        return DieboldMariano(float("nan"), float("nan"), rows)
    variance = newey_west_variance(difference_T, horizon - 1) / rows
    if not variance > 0:
        return DieboldMariano(float("nan"), float("nan"), rows)
    correction = np.sqrt(max((rows + 1 - 2 * horizon + horizon * (horizon - 1) / rows) / rows, 0.0))
    statistic = float(correction * difference_T.mean() / np.sqrt(variance))
    return DieboldMariano(statistic, float(2 * stats.t.sf(abs(statistic), rows - 1)), rows)
