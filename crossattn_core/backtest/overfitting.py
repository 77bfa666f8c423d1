"""What is left of a Sharpe ratio given how many were tried, and how often the best in sample is good out of it.

Sharpe ratios here are per period of the series (not annual), as the formulas need them: with daily returns, daily ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from arch.bootstrap import SPA
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.errors import BacktestError

__all__ = [
    "Overfitting",
    "deflated_sharpe",
    "expected_best_sharpe",
    "minimum_track_record",
    "probabilistic_sharpe",
    "probability_of_overfitting",
    "superior_ability",
]

_EULER = 0.5772156649015329


def probabilistic_sharpe(
    sharpe: float, observations: float, *, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark`` (Bailey and Lopez de Prado, 2012).

    Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)), ``kurtosis`` 3 for a normal law.

    >>> round(probabilistic_sharpe(0.458, 24), 4), round(probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164), 4)
    (0.9817, 0.9134)
    """
    spread = _spread(sharpe, skew, kurtosis)
    if observations <= 1 or not spread > 0:
        return float("nan")
    return float(stats.norm.cdf((sharpe - benchmark) * np.sqrt(observations - 1) / np.sqrt(spread)))


def minimum_track_record(
    sharpe: float, *, confidence: float = 0.95, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Observations after which ``probabilistic_sharpe`` reaches ``confidence``; infinite where it never does."""
    if not sharpe > benchmark:
        return float("inf") if sharpe <= benchmark else float("nan")
    return float(1.0 + _spread(sharpe, skew, kurtosis) * (stats.norm.ppf(confidence) / (sharpe - benchmark)) ** 2)


def expected_best_sharpe(trials: float, variance_of_trials: float) -> float:
    """Sharpe ratio that the best of ``trials`` worthless strategies is expected to show.

    sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g Euler's constant; 0 for a single trial.

    >>> round(expected_best_sharpe(100, 0.5 / 250), 6)
    0.113172
    """
    if trials <= 1:
        return 0.0
    best = (1 - _EULER) * stats.norm.ppf(1 - 1 / trials) + _EULER * stats.norm.ppf(1 - 1 / (trials * np.e))
    return float(np.sqrt(variance_of_trials) * best)


def deflated_sharpe(
    sharpe: float, observations: float, *, trials: float, variance_of_trials: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probability that the true Sharpe ratio exceeds what the best of all ``trials`` shows by luck (2014, same authors).

    >>> daily = 2.5 / 250**0.5
    >>> round(deflated_sharpe(daily, 1250, trials=100, variance_of_trials=0.5 / 250, skew=-3, kurtosis=10), 6)
    0.900397
    >>> round(deflated_sharpe(daily, 1250, trials=46, variance_of_trials=0.5 / 250, skew=-3, kurtosis=10), 6)
    0.950502
    """
    chance = expected_best_sharpe(trials, variance_of_trials)
    return probabilistic_sharpe(sharpe, observations, skew=skew, kurtosis=kurtosis, benchmark=chance)


@dataclass(frozen=True)
class Overfitting:
    """Combinatorially symmetric cross-validation over trials (Bailey, Borwein, Lopez de Prado and Zhu, 2017)."""

    probability: float
    """Share of splits in which the best trial in sample falls into the lower half out of sample."""
    splits: int
    loss_probability: float
    """Share of splits in which the best trial in sample loses out of sample."""


def probability_of_overfitting(return_TV: NDArray[np.float64], blocks: int = 10) -> Overfitting:
    """CSCV over the returns (T, V) of every trial: all ways to choose half of ``blocks`` equal blocks as the sample.

    Raises:
        BacktestError: fewer than 2 trials, an odd number of blocks, or too few rows.
    """
    rows, trials = return_TV.shape
    if trials < 2 or blocks % 2 or rows < 2 * blocks:
        raise BacktestError(
            f"overfitting is measured over at least 2 trials, an even number of blocks and 2 rows a block; "
            f"given {trials} trials, {blocks} blocks, {rows} rows"
        )
    used = rows // blocks * blocks
    block_BLV = return_TV[rows - used :].reshape(blocks, used // blocks, trials)
    count, sum_BV, square_BV = used // blocks, block_BLV.sum(axis=1), (block_BLV**2).sum(axis=1)
    below, losses, splits = 0.0, 0, 0
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.zeros(blocks, dtype=bool)
        inside[list(chosen)] = True
        sample_V = _ratio(sum_BV[inside].sum(axis=0), square_BV[inside].sum(axis=0), count * blocks // 2)
        test_V = _ratio(sum_BV[~inside].sum(axis=0), square_BV[~inside].sum(axis=0), count * blocks // 2)
        best = int(np.argmax(sample_V))
        rank = float(stats.rankdata(test_V)[best]) / (trials + 1)
        below += 1.0 if rank < 0.5 else (0.5 if rank == 0.5 else 0.0)
        losses += bool(test_V[best] < 0)
        splits += 1
    return Overfitting(below / splits, splits, losses / splits)


def superior_ability(
    returns: Mapping[str, NDArray[np.float64]], benchmark: str, *, samples: int, seed: int, block: int = 10
) -> float:
    """p-value that no strategy beats ``benchmark`` in mean return: Hansen's (2005) consistent test, from ``arch``.

    Small: at least one strategy is better than luck over all of them explains. NaN without another strategy, or
    with fewer returns than two blocks hold.
    """
    others = [name for name in returns if name != benchmark and np.std(returns[name]) > 0]
    if not others or benchmark not in returns or len(returns[benchmark]) < 2 * block:
        return float("nan")
    loss_TS = -np.column_stack([returns[name] for name in others])
    test = SPA(-returns[benchmark], loss_TS, block_size=block, reps=samples, bootstrap="stationary", seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def _spread(sharpe: float, skew: float, kurtosis: float) -> float:
    return 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2


def _ratio(sum_V: NDArray[np.float64], square_V: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    mean_V = sum_V / count
    deviation_V = np.sqrt(np.maximum(square_V / count - mean_V**2, 0.0))
    return np.divide(mean_V, deviation_V, out=np.zeros_like(mean_V), where=deviation_V > 1e-14)
