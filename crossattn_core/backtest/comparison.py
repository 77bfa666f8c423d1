"""One strategy, or one family of forecasts, against another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.days import HOURS_PER_YEAR

__all__ = ["BenchmarkRelative", "DieboldMariano", "benchmark_relative", "diebold_mariano", "newey_west_variance"]


@dataclass(frozen=True)
class BenchmarkRelative:
    """A return series regressed on a benchmark's, with Newey-West errors. NaN where the benchmark does not move."""

    alpha: float
    """Intercept, annualised by the number of rows in a year."""
    alpha_t: float
    beta: float
    correlation: float
    information_ratio: float
    """Mean / standard deviation of the difference, annualised."""
    tracking_error: float
    """Standard deviation of the difference, annualised."""


def benchmark_relative(
    return_T: NDArray[np.float64], benchmark_T: NDArray[np.float64], *, periods: float = HOURS_PER_YEAR, lags: int = 24
) -> BenchmarkRelative:
    """``return_T`` = alpha + beta ``benchmark_T`` + rest."""
    nothing = float("nan")
    difference_T = return_T - benchmark_T
    apart = float(np.std(difference_T, ddof=1)) if len(return_T) > 2 else 0.0
    ratio = float(difference_T.mean() / apart * np.sqrt(periods)) if apart > 1e-14 else nothing
    tracking = apart * float(np.sqrt(periods))
    if len(return_T) <= 2 or np.std(benchmark_T) <= 1e-14:
        return BenchmarkRelative(nothing, nothing, nothing, nothing, ratio, tracking)
    design_T2 = np.column_stack([np.ones(len(return_T)), benchmark_T])
    inverse = np.linalg.inv(design_T2.T @ design_T2)
    alpha, beta = inverse @ design_T2.T @ return_T
    score_T2 = design_T2 * (return_T - design_T2 @ np.array([alpha, beta]))[:, None]
    middle = score_T2.T @ score_T2
    for lag in range(1, lags + 1):
        cross = score_T2[lag:].T @ score_T2[:-lag]
        middle = middle + (1.0 - lag / (lags + 1.0)) * (cross + cross.T)
    error = float(np.sqrt(max((inverse @ middle @ inverse)[0, 0], 0.0)))
    correlation = float(np.corrcoef(return_T, benchmark_T)[0, 1]) if np.std(return_T) > 1e-14 else nothing
    return BenchmarkRelative(
        float(alpha * periods), float(alpha / error) if error > 0 else nothing, float(beta), correlation, ratio, tracking
    )


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


def newey_west_variance(series_T: NDArray[np.float64], lags: int) -> float:
    """Long-run variance of a series: autocovariances up to ``lags`` with Bartlett weights (Newey and West, 1987)."""
    centred_T = series_T - series_T.mean()
    variance = float(centred_T @ centred_T) / len(series_T)
    for lag in range(1, min(lags, len(series_T) - 1) + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(centred_T[lag:] @ centred_T[:-lag]) / len(series_T)
    return variance
