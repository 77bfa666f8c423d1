"""Block bootstraps: resampling that keeps runs of rows together, and the intervals read from it.

    stationary_bootstrap    any statistic, blocks of random length (Politis and Romano, 1994), from ``arch``
    circular_block_sums     statistics of sums, blocks of one length on a circle (Politis and Romano, 1992), by running totals
    block_counts            statistics of sums over disjoint blocks (weeks): how often each is drawn

Axes: T rows, S series drawn together, B draws, X sums, W disjoint blocks.
"""

from collections.abc import Callable

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray

__all__ = ["block_counts", "circular_block_sums", "percentile_interval", "rows_drawn", "stationary_bootstrap"]


def stationary_bootstrap(
    value_TS: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    min_block: int,
    samples: int,
    seed: int,
) -> tuple[NDArray[np.float64], int]:
    """(``statistic`` of each of B draws of the rows, mean block length).

    The block length is that of Politis and White (2004), of the series that needs the longest, and at least ``min_block``.
    """
    value_TS = np.ascontiguousarray(value_TS)
    best_S = optimal_block_length(value_TS)["stationary"].to_numpy(np.float64)
    block = max(min_block, round(float(np.max(best_S))))
    bootstrap = StationaryBootstrap(block, value_TS, seed=np.random.default_rng(seed))
    return bootstrap.apply(statistic, samples), block


def circular_block_sums(value_TX: NDArray[np.float64], *, block: int, samples: int, seed: int) -> NDArray[np.float64]:
    """(B, X) sums over the ``rows_drawn`` of each draw: whole blocks that start anywhere, the end joined to the beginning."""
    rows = len(value_TX)
    block = min(block, rows)
    start_BW = np.random.default_rng(seed).integers(0, rows, size=(samples, -(-rows // block)))
    # Sums of whole blocks by running totals over the rows laid twice end to end.
    total = np.zeros((rows + block + 1, value_TX.shape[1]))
    np.cumsum(np.concatenate([value_TX, value_TX[:block]]), axis=0, out=total[1:])
    return sum((total[start + block] - total[start] for start in start_BW.T), np.zeros((samples, value_TX.shape[1])))


def rows_drawn(rows: int, block: int) -> int:
    """How many rows a draw of ``circular_block_sums`` adds up: the smallest number of whole blocks that covers them all."""
    block = min(block, rows)
    return -(-rows // block) * block


def block_counts(blocks: int, *, samples: int, seed: int) -> NDArray[np.float64]:
    """(B, W) how often each of ``blocks`` disjoint blocks is drawn, with replacement; without a block nothing is drawn."""
    if not blocks:
        return np.zeros((samples, 0))
    generator = np.random.default_rng(seed)
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=samples).astype(np.float64)


def percentile_interval(value_B: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """(low, high) that hold the middle ``confidence`` of the draws; needs at least one, all finite."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(value_B, (tail, 1 - tail))
    return float(low), float(high)
