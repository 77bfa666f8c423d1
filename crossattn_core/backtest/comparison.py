"""One strategy beside another: Sharpe ratios and their differences with intervals, and a regression on the benchmark.

All strategies are drawn together, row by row, in ``stats.bootstrap.stationary_bootstrap``, so that differences keep what the
strategies share.

Axes: P returns (``performance.period_returns``), S strategies, B draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.performance import sharpe
from crossattn_core.stats.bootstrap import percentile_interval, stationary_bootstrap
from crossattn_core.stats.newey_west import least_squares

__all__ = ["BenchmarkRelative", "Interval", "SharpeIntervals", "benchmark_relative", "sharpe_intervals"]

_MIN_PERIODS = 20
"""Returns under which there is no interval."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds that hold the truth at the stated confidence."""

    estimate: float
    low: float
    high: float

    @property
    def spans_zero(self) -> bool:
        """Whether zero lies inside; an interval that is not known spans everything."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class SharpeIntervals:
    """Annual Sharpe ratios by strategy, and their differences to the benchmark."""

    sharpe: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    """Strategy's Sharpe less the benchmark's; without the benchmark itself."""
    block_length: int
    """Mean returns of a block."""
    samples: int
    confidence: float


def sharpe_intervals(
    returns: Mapping[str, NDArray[np.float64]],
    benchmark: str | None,
    *,
    samples: int,
    confidence: float,
    seed: int,
    periods_per_day: int,
    days_per_year: int = 365,
) -> SharpeIntervals:
    """Percentile intervals of annual Sharpe ratios from returns (P,) by strategy, all of one length.

    A block is a day at least: returns repeat themselves within the day, and one decision lives that long. A series without
    volatility has NaN bounds.
    """
    periods = periods_per_day * days_per_year
    names = list(returns)
    return_PS = np.column_stack([returns[name] for name in names])
    estimate_S = np.array([sharpe(return_PS[:, column], periods) for column in range(len(names))])
    moving_S = np.isfinite(estimate_S)
    drawn_BS = np.full((samples, len(names)), np.nan)
    block = periods_per_day
    if moving_S.any() and len(return_PS) > max(4 * periods_per_day, _MIN_PERIODS):

        def sharpe_of_draw(drawn_PS: NDArray[np.float64]) -> NDArray[np.float64]:
            mean_S = drawn_PS.mean(axis=0)
            deviation_S = np.sqrt((drawn_PS**2).mean(axis=0) - mean_S**2)
            ratio_S = np.divide(mean_S, deviation_S, out=np.full(len(mean_S), np.nan), where=deviation_S > 1e-14)
            return ratio_S * np.sqrt(periods)

        drawn_BS[:, moving_S], block = stationary_bootstrap(
            return_PS[:, moving_S], sharpe_of_draw, min_block=periods_per_day, samples=samples, seed=seed
        )
    intervals = {name: _interval(estimate_S[s], drawn_BS[:, s], confidence) for s, name in enumerate(names)}
    differences = {}
    if benchmark in names:
        base = names.index(benchmark)
        less_S, less_BS = estimate_S - estimate_S[base], drawn_BS - drawn_BS[:, [base]]
        differences = {name: _interval(less_S[s], less_BS[:, s], confidence) for s, name in enumerate(names) if s != base}
    return SharpeIntervals(intervals, differences, block, samples, confidence)


@dataclass(frozen=True)
class BenchmarkRelative:
    """A return series regressed on a benchmark's, with Newey-West errors. NaN where the benchmark does not move."""

    alpha: float
    """Intercept, annualised by the number of returns in a year."""
    alpha_t: float
    beta: float
    correlation: float
    information_ratio: float
    """Mean / standard deviation of the difference, annualised."""
    tracking_error: float
    """Standard deviation of the difference, annualised."""


def benchmark_relative(
    return_P: NDArray[np.float64], benchmark_P: NDArray[np.float64], *, periods_per_day: int, days_per_year: int = 365
) -> BenchmarkRelative:
    """``return_P`` = alpha + beta ``benchmark_P`` + rest; the errors count autocorrelation within a day."""
    periods = periods_per_day * days_per_year
    nothing = float("nan")
    difference_P = return_P - benchmark_P
    apart = float(np.std(difference_P, ddof=1)) if len(return_P) > 2 else 0.0
    ratio = float(difference_P.mean() / apart * np.sqrt(periods)) if apart > 1e-14 else nothing
    tracking = apart * float(np.sqrt(periods))
    if len(return_P) <= 2 or np.std(benchmark_P) <= 1e-14:
        return BenchmarkRelative(nothing, nothing, nothing, nothing, ratio, tracking)
    design_P2 = np.column_stack([np.ones(len(return_P)), benchmark_P])
    (alpha, beta), (error, _) = least_squares(design_P2, return_P, lags=periods_per_day)
    correlation = float(np.corrcoef(return_P, benchmark_P)[0, 1]) if np.std(return_P) > 1e-14 else nothing
    return BenchmarkRelative(
        float(alpha * periods), float(alpha / error) if error > 0 else nothing, float(beta), correlation, ratio, tracking
    )


def _interval(estimate: float, drawn_B: NDArray[np.float64], confidence: float) -> Interval:
    known = drawn_B[np.isfinite(drawn_B)]
    if not np.isfinite(estimate) or len(known) < 0.5 * len(drawn_B):
        return Interval(float(estimate), float("nan"), float("nan"))
    return Interval(float(estimate), *percentile_interval(known, confidence))
