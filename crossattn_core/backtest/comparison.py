"""One strategy against another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.days import HOURS_PER_YEAR
from crossattn_core.stats.newey_west import least_squares

__all__ = ["BenchmarkRelative", "benchmark_relative"]


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
    (alpha, beta), (error, _) = least_squares(design_T2, return_T, lags=lags)
    correlation = float(np.corrcoef(return_T, benchmark_T)[0, 1]) if np.std(return_T) > 1e-14 else nothing
    return BenchmarkRelative(
        float(alpha * periods), float(alpha / error) if error > 0 else nothing, float(beta), correlation, ratio, tracking
    )
