"""How sure a number is. Every Sharpe ratio stands beside its interval.

Intervals come from ``stats.bootstrap.stationary_bootstrap``. All strategies are drawn together, row by row, so that
differences keep what the strategies share.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.performance import sharpe
from crossattn_core.days import HOURS_PER_YEAR
from crossattn_core.stats.bootstrap import percentile_interval, stationary_bootstrap

__all__ = ["Interval", "SharpeIntervals", "sharpe_intervals"]

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
    intervals = {name: _interval(estimate_S[column], drawn_BS[:, column], confidence) for column, name in enumerate(names)}
    differences = {}
    if benchmark in names:
        base = names.index(benchmark)
        for column, name in enumerate(names):
            if column != base:
                differences[name] = _interval(
                    estimate_S[column] - estimate_S[base], drawn_BS[:, column] - drawn_BS[:, base], confidence
                )
    return SharpeIntervals(intervals, differences, block, samples, confidence)


def _interval(estimate: float, drawn_B: NDArray[np.float64], confidence: float) -> Interval:
    known = drawn_B[np.isfinite(drawn_B)]
    if not np.isfinite(estimate) or len(known) < 0.5 * len(drawn_B):
        return Interval(float(estimate), float("nan"), float("nan"))
    return Interval(float(estimate), *percentile_interval(known, confidence))
