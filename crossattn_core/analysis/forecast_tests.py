"""Forecasts against each other and against no forecast at all, and how their IC decays with the horizon.

Losses and products are averaged over assets row by row, each asset in units of its own deviations, so that errors count what
assets share; over time they are Newey-West errors with a lag for every row that horizons overlap.

Axes: T bars, N assets.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.panel.labels import Labels
from crossattn_core.stats.forecast_accuracy import diebold_mariano
from crossattn_core.stats.newey_west import newey_west_variance

__all__ = ["DECAY_BARS", "NO_FORECAST", "accuracy_tests", "decay_by_horizon", "forecast_tests"]

NO_FORECAST = "no forecast"
"""The forecast of zero: what a family has to beat first."""

DECAY_BARS = (1, 3, 6, 12, 24, 48, 72, 120)
"""Horizons at which a forecast of the traded one is compared with the outcome."""

_MIN_ROWS = 100


def forecast_tests(
    forecast_by_family_TNH: Mapping[str, NDArray[np.floating]],
    labels: Labels,
    decay_labels: Labels,
    horizons: tuple[int, ...],
    *,
    trade_horizon: int,
    confidence: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(``accuracy_tests`` at every horizon, ``decay_by_horizon`` of the forecasts of the traded one).

    Args:
        labels: at ``horizons``, as the forecasts.
        decay_labels: at ``DECAY_BARS``.
    """
    by_horizon = [
        {family: array_TNH[:, :, h] for family, array_TNH in forecast_by_family_TNH.items()} for h in range(len(horizons))
    ]
    tests = [accuracy_tests(by_horizon[h], labels.value_TNH[:, :, h], horizon) for h, horizon in enumerate(horizons)]
    traded = by_horizon[horizons.index(trade_horizon)]
    return pd.concat(tests, ignore_index=True), decay_by_horizon(traded, decay_labels.value_TNH, DECAY_BARS, confidence)


def accuracy_tests(
    forecast_by_family_TN: Mapping[str, NDArray[np.floating]], outcome_TN: NDArray[np.floating], horizon: int
) -> pd.DataFrame:
    """Diebold-Mariano tests of every family against the forecast of zero and against each later family.

    Grain: (horizon, first, second). ``statistic`` < 0: the first has the smaller squared error; ``p_value`` two-sided;
    ``rows`` compared. The loss of a row is the mean over assets of (forecast - outcome)^2 / var(outcome of the asset).
    """
    zero_TN = np.zeros(outcome_TN.shape)
    named = {**forecast_by_family_TN, NO_FORECAST: zero_TN}
    names, lines = list(named), []
    for place, first in enumerate(names[:-1]):
        for second in names[place + 1 :]:
            known_TN = np.isfinite(named[first]) & np.isfinite(named[second]) & np.isfinite(outcome_TN)
            first_T, second_T = (_mean_loss(named[name], outcome_TN, known_TN) for name in (first, second))
            found = diebold_mariano(first_T, second_T, horizon)
            lines.append((horizon, first, second, found.statistic, found.p_value, found.rows))
    return pd.DataFrame(lines, columns=["horizon", "first", "second", "statistic", "p_value", "rows"])


def decay_by_horizon(
    forecast_by_family_TN: Mapping[str, NDArray[np.floating]],
    outcome_TNH: NDArray[np.floating],
    bars: tuple[int, ...],
    confidence: float = 0.95,
) -> pd.DataFrame:
    """IC of one forecast with the outcome over each horizon, with Newey-West errors.

    Grain: (family, bars). ``ic``: mean over rows of the product of standardised forecast and outcome, averaged over assets
    first; ``low``, ``high``: its interval; ``rows`` counted.
    """
    lines = []
    for family, forecast_TN in forecast_by_family_TN.items():
        for h, horizon in enumerate(bars):
            known_TN = np.isfinite(forecast_TN) & np.isfinite(outcome_TNH[:, :, h])
            product_TN = _standard(forecast_TN, known_TN) * _standard(outcome_TNH[:, :, h], known_TN)
            product_T = _mean(product_TN, known_TN, axis=1)
            product_T = product_T[np.isfinite(product_T)]
            ic = error = float("nan")
            if len(product_T) >= max(_MIN_ROWS, 2 * horizon):
                ic = float(product_T.mean())
                error = float(np.sqrt(newey_west_variance(product_T, horizon - 1) / len(product_T)))
            reach = error * float(stats.norm.ppf(0.5 + confidence / 2))
            lines.append((family, horizon, ic, ic - reach, ic + reach, len(product_T)))
    return pd.DataFrame(lines, columns=["family", "bars", "ic", "low", "high", "rows"])


def _mean_loss(
    forecast_TN: NDArray[np.floating], outcome_TN: NDArray[np.floating], known_TN: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(T,) mean squared error over assets in units of each one's outcome variance; NaN where nothing is known."""
    scale_N = np.sqrt(_mean(np.asarray(outcome_TN, np.float64) ** 2, known_TN, axis=0))
    error_TN = (np.asarray(forecast_TN, np.float64) - outcome_TN) / np.where(scale_N > 0, scale_N, np.nan)
    return _mean(error_TN**2, known_TN, axis=1)


def _standard(value_TN: NDArray[np.floating], known_TN: NDArray[np.bool_]) -> NDArray[np.float64]:
    centred_TN = np.asarray(value_TN, np.float64) - _mean(np.asarray(value_TN, np.float64), known_TN, axis=0)
    scale_N = np.sqrt(_mean(centred_TN**2, known_TN, axis=0))
    return centred_TN / np.where(scale_N > 0, scale_N, np.nan)


def _mean(value_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    """Mean over ``axis`` of the values that are known and finite; NaN without any."""
    usable_TN = known_TN & np.isfinite(value_TN)
    count, total = usable_TN.sum(axis=axis), np.where(usable_TN, value_TN, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
