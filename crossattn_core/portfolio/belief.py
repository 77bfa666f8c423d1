"""How much of a forecast to believe: a prior share, moved by what earlier forecasts turned out to be worth.

Outcome = belief x forecast + noise, both in units of the asset's trailing risk over the horizon. With a normal
prior of mean ``shrinkage`` and deviation ``belief_uncertainty``, the posterior mean is the share that is believed, kept in
[0, 1]. A family that is wrong, or whose forecasts are too large, soon trades nothing.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import PortfolioSettings

__all__ = ["believed_share"]


def believed_share(
    past_forecast_DN: NDArray[np.float64],
    past_mark_TN: NDArray[np.float64],
    past_tradable_TN: NDArray[np.bool_],
    risk_DN: NDArray[np.float64],
    rows_D: NDArray[np.int64],
    *,
    execution_lag: int,
    horizon: int,
    settings: PortfolioSettings,
) -> NDArray[np.float64]:
    """(D,) share of the forecast believed at each decision.

    The forecast of decision j counts for decision i only when its whole horizon, row_j + ``execution_lag`` + ``horizon``,
    lies at or before row_i, and only where the fill could have happened. ``risk_DN`` is the standard deviation of a log
    return over the horizon, as known at each decision.
    """
    decisions = len(rows_D)
    if settings.belief_uncertainty == 0:
        return np.full(decisions, settings.shrinkage)
    fill_D = rows_D + execution_lag
    exit_D = fill_D + horizon
    realised_D = exit_D < len(past_mark_TN)
    product_D, square_D = np.zeros(decisions), np.zeros(decisions)
    if realised_D.any():
        fill, exit_ = fill_D[realised_D], exit_D[realised_D]
        outcome = np.log(past_mark_TN[exit_] / past_mark_TN[fill])
        outcome[~past_tradable_TN[fill]] = np.nan
        z_forecast = past_forecast_DN[realised_D] / risk_DN[realised_D]
        # One wild outcome must not decide what is believed for a year.
        z_outcome = np.clip(outcome / risk_DN[realised_D], -5.0, 5.0)
        known = np.isfinite(z_forecast) & np.isfinite(z_outcome)
        product_D[realised_D] = np.where(known, z_forecast * z_outcome, 0.0).sum(axis=1)
        square_D[realised_D] = np.where(known, z_forecast**2, 0.0).sum(axis=1)
    # Overlapping horizons repeat the same news: a decision more often than once a horizon counts less.
    overlap = min(1.0, settings.rebalance_every / horizon)
    product_before = np.concatenate([[0.0], np.cumsum(product_D * overlap)])
    square_before = np.concatenate([[0.0], np.cumsum(square_D * overlap)])
    known_D = np.searchsorted(exit_D, rows_D, side="right")
    prior = settings.belief_uncertainty**-2
    posterior_D = (prior * settings.shrinkage + product_before[known_D]) / (prior + square_before[known_D])
    return np.clip(posterior_D, 0.0, 1.0)
