"""Forecasts across assets: the rank IC of each decision, and what assets earned by bucket of their forecast.

At each decision assets are sorted by forecast into equal buckets (deciles where there are twenty assets), the lowest first. The
top less the bottom bucket is a portfolio of one unit long and one unit short, equal weights in each; a decision trades from the
positions whose horizon has passed to its own, at the venues' costs. Means over decisions have Newey-West errors over
overlapping horizons.

Axes: T rows, D decisions, N assets, Q buckets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.panel.panel import Panel
from crossattn_core.stats.newey_west import newey_west_variance
from crossattn_core.stats.rank_correlation import rank_correlation

__all__ = ["MIN_ASSETS", "BucketReturns", "baseline_scores", "forecast_buckets", "mean_and_error"]

MIN_ASSETS = 10
"""Assets with a forecast and an outcome under which a decision is not sorted."""
_MAX_BUCKETS = 10
_MIN_DECISIONS = 20
"""Decisions under which a mean has no error."""


@dataclass(frozen=True)
class BucketReturns:
    """One forecast, sorted at each of its decisions."""

    as_of_D: NDArray[np.datetime64]
    rank_ic_D: NDArray[np.float64]
    """(D,) Spearman's correlation over assets of forecast and return."""
    return_DQ: NDArray[np.float64]
    """(D, Q) mean simple return over the horizon of each bucket's assets; NaN where ties leave a bucket empty."""
    cost_D: NDArray[np.float64]
    """(D,) paid for the trades of the top less the bottom bucket, fraction of one side's notional."""
    overlap: int
    """Most decisions whose horizons are open at once."""

    @cached_property
    def gross_D(self) -> NDArray[np.float64]:
        """(D,) return of the top less that of the bottom bucket."""
        return self.return_DQ[:, -1] - self.return_DQ[:, 0]

    @cached_property
    def net_D(self) -> NDArray[np.float64]:
        """(D,) ``gross_D`` less what its trades cost."""
        return self.gross_D - self.cost_D

    def summary(self) -> dict[str, Any]:
        """Means over decisions with their t: rank IC, return by bucket, top less bottom before and after costs.

        ``monotonicity``: Spearman's correlation of a bucket's number and its mean return.
        """
        bucket_Q = np.array([mean_and_error(return_D, self.overlap)[0] for return_D in self.return_DQ.T])
        line: dict[str, Any] = {"decisions": len(self.as_of_D)}
        for name, value_D in (("rank_ic", self.rank_ic_D), ("gross", self.gross_D), ("net", self.net_D)):
            mean, error = mean_and_error(value_D, self.overlap)
            line |= {name: mean, f"{name}_t": mean / error if error > 0 else float("nan")}
        numbers_Q = np.arange(len(bucket_Q), dtype=np.float64)
        return {**line, "bucket_returns": bucket_Q.tolist(), "monotonicity": rank_correlation(numbers_Q, bucket_Q)}


def forecast_buckets(
    score_by_name_TN: Mapping[str, NDArray[np.floating]],
    log_return_TN: NDArray[np.floating],
    as_of_T: NDArray[np.datetime64],
    rows_D: NDArray[np.int64],
    trade_cost_N: NDArray[np.float64],
    *,
    horizon: int,
) -> dict[str, BucketReturns]:
    """Each forecast sorted at the decision rows at which ``MIN_ASSETS`` have a forecast and an outcome; others are left out.

    Args:
        score_by_name_TN: what assets are sorted by, NaN where there is none; a row of equal scores is left out.
        log_return_TN: the outcome, over ``horizon`` rows from the fill on; NaN where there is none (yet).
        trade_cost_N: one-way cost of a unit of traded notional, as a fraction.
        horizon: rows that a position is held.
    """
    found = {}
    for name, score_TN in score_by_name_TN.items():
        sorted_ = _sorted(np.asarray(score_TN[rows_D], np.float64), np.expm1(log_return_TN[rows_D].astype(np.float64)))
        if sorted_ is None:
            continue
        kept_D, rank_ic_D, return_DQ, weight_DN = sorted_
        cost_D, overlap = _costs(weight_DN, rows_D[kept_D], trade_cost_N, horizon)
        found[name] = BucketReturns(as_of_T[rows_D[kept_D]], rank_ic_D, return_DQ, cost_D, overlap)
    return found


def baseline_scores(past_panel: Panel, *, momentum_bars: int, reversal_bars: int) -> dict[str, NDArray[np.float64]]:
    """What the field sorts by without a model: ``momentum``, the trailing return, and ``reversal``, minus the newest one."""
    log_TN = np.log(past_panel.mark_price_TN)
    scores = {}
    for name, sign, bars in (("momentum", 1.0, momentum_bars), ("reversal", -1.0, reversal_bars)):
        scores[name] = np.full(log_TN.shape, np.nan)
        scores[name][bars:] = sign * (log_TN[bars:] - log_TN[:-bars])
    return scores


def mean_and_error(value_D: NDArray[np.float64], overlap: int) -> tuple[float, float]:
    """Mean of the known values and its Newey-West error; NaN with too few.

    Lags: twice those that horizons overlap, since Bartlett weights cut the last of them (with once, noise is beyond two errors in
    16% of samples instead of 10%); at least the rule of thumb 4 (D / 100) ^ (2 / 9) (Newey and West, 1994).
    """
    value_D = value_D[np.isfinite(value_D)]
    if len(value_D) < _MIN_DECISIONS:
        return float(value_D.mean()) if len(value_D) else float("nan"), float("nan")
    lags = max(2 * overlap - 1, int(4 * (len(value_D) / 100) ** (2 / 9)))
    return float(value_D.mean()), float(np.sqrt(newey_west_variance(value_D, lags) / len(value_D)))


def _sorted(
    score_DN: NDArray[np.float64], return_DN: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """(kept_D, rank_ic_D, return_DQ, weight_DN of the top less the bottom bucket); None where no decision can be sorted."""
    known_DN = np.isfinite(score_DN) & np.isfinite(return_DN)
    score_DN = np.where(known_DN, score_DN, np.nan)
    count_D = known_DN.sum(axis=1)
    enough_D = np.flatnonzero(count_D >= MIN_ASSETS)
    varied_D = np.nanmax(score_DN[enough_D], axis=1) > np.nanmin(score_DN[enough_D], axis=1) if len(enough_D) else []
    kept_D = enough_D[np.asarray(varied_D, dtype=bool)]
    if not len(kept_D):
        return None
    score_DN, return_DN, known_DN, count_D = score_DN[kept_D], return_DN[kept_D], known_DN[kept_D], count_D[kept_D]
    # Ties share their mean rank, so that no asset is ahead for its place in the panel.
    rank_DN, outcome_rank_DN = (
        pd.DataFrame(np.where(known_DN, value_DN, np.nan)).rank(axis=1).to_numpy() for value_DN in (score_DN, return_DN)
    )
    buckets = min(_MAX_BUCKETS, score_DN.shape[1] // 2)
    bucket_DN = np.where(known_DN, np.floor((rank_DN - 0.5) * buckets / count_D[:, None]), -1)
    inside_QDN = bucket_DN == np.arange(buckets)[:, None, None]
    size_QD = inside_QDN.sum(axis=2)
    share_QDN = np.divide(inside_QDN, size_QD[..., None], out=np.zeros(inside_QDN.shape), where=size_QD[..., None] > 0)
    return_QD = np.where(size_QD > 0, (share_QDN * np.where(known_DN, return_DN, 0.0)).sum(axis=2), np.nan)
    return kept_D, _row_correlation(rank_DN, outcome_rank_DN), return_QD.T, share_QDN[-1] - share_QDN[0]


def _row_correlation(x_DN: NDArray[np.float64], y_DN: NDArray[np.float64]) -> NDArray[np.float64]:
    x_DN, y_DN = (value_DN - np.nanmean(value_DN, axis=1, keepdims=True) for value_DN in (x_DN, y_DN))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(x_DN * y_DN, axis=1) / np.sqrt(np.nansum(x_DN**2, axis=1) * np.nansum(y_DN**2, axis=1))


def _costs(
    weight_DN: NDArray[np.float64], row_D: NDArray[np.int64], trade_cost_N: NDArray[np.float64], horizon: int
) -> tuple[NDArray[np.float64], int]:
    """(D,) cost of trading to each decision's weights from those whose horizon has passed, and most decisions open at once.

    Where another horizon and more lies between the two, what was held was closed before: nothing is netted.
    """
    place_D = np.arange(len(row_D))
    passed_D = np.searchsorted(row_D, row_D - horizon, side="right") - 1
    before_DN = np.where(passed_D[:, None] >= 0, weight_DN[passed_D], 0.0)
    apart_D = (passed_D >= 0) & (row_D - row_D[passed_D] >= 2 * horizon)
    size_DN = np.where(apart_D[:, None], np.abs(weight_DN) + np.abs(before_DN), np.abs(weight_DN - before_DN))
    return size_DN @ trade_cost_N, int((place_D - passed_D).max())
