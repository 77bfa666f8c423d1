"""Realised slope: least squares of outcomes on the forecasts that were made of them, as known at each decision.

Both in units of the asset's trailing risk over the horizon, so that an asset counts by how much it was forecast and not by how
wild it is. Every bar's forecast counts, not only a decision's. Outcomes of neighbouring bars overlap, so the sum of forecast
times outcome is turned around (Hodrick, 1992): each bar's return times the forecasts that were in force over it. Where there is
nothing to forecast these products are uncorrelated, however the horizons overlap, and the sum of their squares is the variance
of the sum, heavy tails and sessions included (White, 1980). Where assets move together the same news comes many times: the
information is divided by the ratio of the variance of the sum over assets to the sum of their variances.

Axes: D decisions, T rows, N assets.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossattn_core.stats.returns import log_price_ratios

__all__ = ["RealisedSlope", "realised_slope"]

MAX_MOVE = 10.0
"""Bar deviations at which a return is cut: one wild bar must not decide for a year."""


class RealisedSlope(NamedTuple):
    """What forecasts turned out to be worth: 1 where they were right in size, 0 where they said nothing."""

    slope_DN: NDArray[np.float64]
    """(D, N) slope of outcome on forecast; 0 while nothing is realised."""
    information_DN: NDArray[np.float64]
    """(D, N) one over the squared standard error of the slope; 0 while nothing is realised."""


def realised_slope(
    past_forecast_TN: NDArray[np.floating],
    past_mark_TN: NDArray[np.float64],
    past_tradable_TN: NDArray[np.bool_],
    bar_deviation_DN: NDArray[np.float64],
    rows_D: NDArray[np.int64],
    *,
    execution_lag: int,
    horizon: int,
    half_life_bars: float,
) -> RealisedSlope:
    """The slope at each decision; a forecast counts once its whole horizon, row + ``execution_lag`` + ``horizon``, lies behind.

    Args:
        past_forecast_TN: log return over ``horizon`` bars after the fill, as forecast at each row; NaN: none.
        past_tradable_TN: whether the fill could have happened; forecasts of others do not count.
        bar_deviation_DN: standard deviation of a bar's log return, as known at each decision; holds until the next one.
        half_life_bars: a realised forecast's weight halves with this age.
    """
    rows, assets = past_mark_TN.shape
    decision_T = np.searchsorted(rows_D, np.arange(rows), side="right") - 1
    deviation_TN = np.where(decision_T[:, None] >= 0, bar_deviation_DN[np.maximum(decision_T, 0)], np.nan)
    forecast_TN = np.where(_filled(past_tradable_TN, execution_lag), past_forecast_TN, np.nan).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled_TN = np.nan_to_num(forecast_TN / (deviation_TN**2 * horizon), nan=0.0, posinf=0.0, neginf=0.0)
    forecast_TN = np.where(scaled_TN != 0, forecast_TN, 0.0)
    # A return is cut by what was known before it.
    bound_TN = MAX_MOVE * np.concatenate([np.full((1, assets), np.nan), deviation_TN[:-1]])[:rows]
    return_TN = np.nan_to_num(np.clip(log_price_ratios(past_mark_TN), -bound_TN, bound_TN))

    summed_return_TN, summed_scaled_TN = _sums_before(return_TN), _sums_before(scaled_TN)
    first_T, end_T = (np.minimum(np.arange(rows) + execution_lag + 1 + ahead, rows) for ahead in (0, horizon))
    outcome_TN = summed_return_TN[end_T] - summed_return_TN[first_T]
    newest_T, oldest_T = (np.maximum(np.arange(rows) - execution_lag - behind, 0) for behind in (0, horizon))
    news_TN = return_TN * (summed_scaled_TN[newest_T] - summed_scaled_TN[oldest_T])

    realised_D = np.clip(rows_D - execution_lag - horizon + 1, 0, rows)
    decay_D = 0.5 ** (np.diff(rows_D, prepend=rows_D[:1]) / half_life_bars)
    product_DN = _discounted(scaled_TN * outcome_TN, realised_D, decay_D)
    square_DN = _discounted(scaled_TN * forecast_TN, realised_D, decay_D)
    variance_DN = _discounted(news_TN**2, rows_D + 1, decay_D**2)
    together_D1 = _discounted(news_TN.sum(axis=1, keepdims=True) ** 2, rows_D + 1, decay_D**2)
    apart_D1 = variance_DN.sum(axis=1, keepdims=True)
    repeated_D1 = np.maximum(1.0, np.divide(together_D1, apart_D1, out=np.ones_like(apart_D1), where=apart_D1 > 0))
    known_DN = (square_DN > 0) & (variance_DN > 0)
    slope_DN = np.divide(product_DN, square_DN, out=np.zeros_like(product_DN), where=known_DN)
    information_DN = np.divide(square_DN**2, variance_DN * repeated_D1, out=np.zeros_like(product_DN), where=known_DN)
    return RealisedSlope(slope_DN, information_DN)


def _filled(past_tradable_TN: NDArray[np.bool_], execution_lag: int) -> NDArray[np.bool_]:
    """(T, N) whether a decision at the row could have been filled; False where that is not known yet."""
    filled_TN = np.zeros(past_tradable_TN.shape, dtype=bool)
    filled_TN[:-execution_lag] = past_tradable_TN[execution_lag:]
    return filled_TN


def _sums_before(value_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T + 1, N) sums over the first 0, 1, ..., T rows."""
    return np.concatenate([np.zeros((1, value_TN.shape[1])), np.cumsum(value_TN, axis=0)])


def _discounted(value_TN: NDArray[np.float64], stop_D: NDArray[np.int64], decay_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, N) sums over the rows before each ``stop_D``; what was summed before is multiplied by each decision's decay."""
    summed_TN = _sums_before(value_TN)
    added_DN = summed_TN[stop_D] - summed_TN[np.concatenate([[0], stop_D[:-1]])[: len(stop_D)]]
    total_N = np.zeros(value_TN.shape[1])
    for decision in range(len(stop_D)):
        added_DN[decision] = total_N = total_N * decay_D[decision] + added_DN[decision]
    return added_DN
