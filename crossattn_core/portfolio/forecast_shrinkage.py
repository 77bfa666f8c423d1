"""Forecast shrinkage: a factor on each forecast, a prior moved by what earlier forecasts turned out to be worth.

Outcome = factor x forecast + noise, both in units of the asset's trailing risk over the horizon, so that the noise has
variance one. With a normal prior the posterior mean of the slope is

    (prior mean / prior sd^2 + sum forecast * outcome) / (1 / prior sd^2 + sum forecast^2)

first over all assets together, around ``shrinkage``; then for each asset, around that of all assets, with half the
prior deviation: assets are more alike than families. A family that is wrong, or whose forecasts are too large, soon trades
nothing; an asset that it does forecast well keeps a factor of its own. A factor below zero is cut to zero, which would make luck
look like skill: ``shrinkage_confidence`` posterior deviations are taken off first.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import PortfolioSettings

__all__ = ["forecast_shrinkage"]


def forecast_shrinkage(
    past_forecast_DN: NDArray[np.float64],
    past_mark_TN: NDArray[np.float64],
    past_tradable_TN: NDArray[np.bool_],
    risk_DN: NDArray[np.float64],
    rows_D: NDArray[np.int64],
    *,
    execution_lag: int,
    horizon: int,
    rebalance_bars: int,
    settings: PortfolioSettings,
) -> NDArray[np.float64]:
    """(D, N) factor on the forecast of each decision, in [0, 1].

    The forecast of decision j counts for decision i only when its whole horizon, row_j + ``execution_lag`` + ``horizon``,
    lies at or before row_i, and only where the fill could have happened. ``risk_DN`` is the standard deviation of a log
    return over the horizon, as known at each decision; ``rebalance_bars`` lie between two decisions.
    """
    shape = past_forecast_DN.shape
    if settings.shrinkage_prior_sd == 0:
        return np.full(shape, settings.shrinkage)
    fill_D = rows_D + execution_lag
    exit_D = fill_D + horizon
    realised_D = exit_D < len(past_mark_TN)
    product_DN, square_DN = np.zeros(shape), np.zeros(shape)
    if realised_D.any():
        fill, exit_ = fill_D[realised_D], exit_D[realised_D]
        outcome = np.log(past_mark_TN[exit_] / past_mark_TN[fill])
        outcome[~past_tradable_TN[fill]] = np.nan
        z_forecast = past_forecast_DN[realised_D] / risk_DN[realised_D]
        # One wild outcome must not decide the factor for a year.
        z_outcome = np.clip(outcome / risk_DN[realised_D], -5.0, 5.0)
        known = np.isfinite(z_forecast) & np.isfinite(z_outcome)
        product_DN[realised_D] = np.where(known, z_forecast * z_outcome, 0.0)
        square_DN[realised_D] = np.where(known, z_forecast**2, 0.0)
    # Overlapping horizons repeat the same news: a decision more often than once a horizon counts less.
    overlap = min(1.0, rebalance_bars / horizon)
    known_D = np.searchsorted(exit_D, rows_D, side="right")
    product_DN = _sums_before(product_DN * overlap)[known_D]
    square_DN = _sums_before(square_DN * overlap)[known_D]
    prior = settings.shrinkage_prior_sd**-2
    pooled_D1 = (prior * settings.shrinkage + product_DN.sum(axis=1, keepdims=True)) / (
        prior + square_DN.sum(axis=1, keepdims=True)
    )
    precision_DN = 4.0 * prior + square_DN
    own_DN = (4.0 * prior * np.clip(pooled_D1, 0.0, 1.0) + product_DN) / precision_DN
    return np.clip(own_DN - settings.shrinkage_confidence * precision_DN**-0.5, 0.0, 1.0)


def _sums_before(value_DN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D + 1, N) sums over the first 0, 1, ..., D rows."""
    return np.concatenate([np.zeros((1, value_DN.shape[1])), np.cumsum(value_DN, axis=0)])
