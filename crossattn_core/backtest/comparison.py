"""One strategy beside another: Sharpe ratios and their differences with intervals, and a regression on the benchmark.

All strategies are drawn together, row by row, in ``stats.bootstrap.stationary_bootstrap``, so that differences keep what the
strategies share.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.performance import sharpe
from crossattn_core.days import HOURS_PER_YEAR
from crossattn_core.stats.bootstrap import percentile_interval, stationary_bootstrap
from crossattn_core.stats.newey_west import least_squares

__all__ = ["BenchmarkRelative", "Interval", "SharpeIntervals", "benchmark_relative", "sharpe_intervals"]

_SHORTEST_BLOCK = 24
"""Rows: an hourly series repeats itself within the day, and one decision lives that long."""


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
    """Mean rows of a block."""
    samples: int
    confidence: float


def sharpe_intervals(
    returns: Mapping[str, NDArray[np.float64]],
    benchmark: str | None,
    *,
    samples: int,
    confidence: float,
    seed: int,
    periods: float = HOURS_PER_YEAR,
) -> SharpeIntervals:
    """Percentile intervals of annual Sharpe ratios from returns (T,) by strategy, all of one length.

    A series without volatility has NaN bounds.
    """
    names = list(returns)
    return_TS = np.column_stack([returns[name] for name in names])
    estimate_S = np.array([sharpe(return_TS[:, column], periods) for column in range(len(names))])
    moving_S = np.isfinite(estimate_S)
    drawn_BS = np.full((samples, len(names)), np.nan)
    block = _SHORTEST_BLOCK
    if moving_S.any() and len(return_TS) > 4 * _SHORTEST_BLOCK:

        def sharpe_of_draw(drawn_TS: NDArray[np.float64]) -> NDArray[np.float64]:
            mean_S = drawn_TS.mean(axis=0)
            deviation_S = np.sqrt((drawn_TS**2).mean(axis=0) - mean_S**2)
            ratio_S = np.divide(mean_S, deviation_S, out=np.full(len(mean_S), np.nan), where=deviation_S > 1e-14)
            return ratio_S * np.sqrt(periods)

        drawn_BS[:, moving_S], block = stationary_bootstrap(
            return_TS[:, moving_S], sharpe_of_draw, min_block=_SHORTEST_BLOCK, samples=samples, seed=seed
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


def _interval(estimate: float, drawn_B: NDArray[np.float64], confidence: float) -> Interval:
    known = drawn_B[np.isfinite(drawn_B)]
    if not np.isfinite(estimate) or len(known) < 0.5 * len(drawn_B):
        return Interval(float(estimate), float("nan"), float("nan"))
    return Interval(float(estimate), *percentile_interval(known, confidence))
