"""Correlation by regime: what diversification is left in stress windows.

Axes: T bars, N assets.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["RegimeCorrelation", "correlation_by_regime"]

_MIN_BARS = 48


@dataclass(frozen=True)
class RegimeCorrelation:
    """Correlation of returns of the same bar within one regime."""

    name: str
    bars: int
    """Bars of the regime's windows."""
    correlation_NN: NDArray[np.float64]
    """NaN for a pair with fewer than 48 bars in which both had a fresh return; 1 on the diagonal."""
    volatility: float
    """Root mean square log return of a bar, mean over assets; what orders regimes from calm to stress."""

    @property
    def mean(self) -> float:
        """Mean over known pairs; NaN without any."""
        value_NN = self.correlation_NN[~np.eye(len(self.correlation_NN), dtype=bool)]
        known = value_NN[np.isfinite(value_NN)]
        return float(known.mean()) if len(known) else float("nan")


def correlation_by_regime(
    return_TN: NDArray[np.float64], as_of_T: NDArray[np.datetime64], windows: pd.DataFrame
) -> tuple[RegimeCorrelation, ...]:
    """One entry a regime that is in force somewhere, calm first. Bars before the first confirmed window are left out.

    Args:
        return_TN: log returns of bars, NaN unless both candles were fresh.
        windows: ``regime_windows``; a window is in force from its confirmation day's 00:00 to the next one's.
    """
    begin_T = as_of_T - np.timedelta64(1, "us")
    inside_by_name: dict[str, NDArray[np.bool_]] = {}
    known = windows[windows["regime"] >= 0]
    for name, confirmed, end in zip(known["name"], known["confirmed"], known["end"], strict=True):
        inside_T = (begin_T >= confirmed.to_datetime64()) & (True if pd.isna(end) else begin_T < end.to_datetime64())
        inside_by_name[str(name)] = inside_by_name.get(str(name), np.zeros(len(as_of_T), dtype=bool)) | inside_T
    found = [
        RegimeCorrelation(name, int(inside_T.sum()), _correlation(return_TN[inside_T]), _volatility(return_TN[inside_T]))
        for name, inside_T in inside_by_name.items()
        if inside_T.any()
    ]
    return tuple(sorted(found, key=lambda regime: regime.volatility))


def _correlation(return_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairwise over common bars, means taken over those bars."""
    known_RN = np.isfinite(return_RN)
    x_RN, seen_RN = np.where(known_RN, return_RN, 0.0), known_RN.astype(np.float64)
    count_NN, product_NN = seen_RN.T @ seen_RN, x_RN.T @ x_RN
    sum_NN, square_NN = x_RN.T @ seen_RN, (x_RN**2).T @ seen_RN  # of the row asset, over bars that both have
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_NN = square_NN - sum_NN**2 / count_NN
        value_NN = (product_NN - sum_NN * sum_NN.T / count_NN) / np.sqrt(spread_NN * spread_NN.T)
    value_NN = np.where((count_NN >= _MIN_BARS) & np.isfinite(value_NN), np.clip(value_NN, -1, 1), np.nan)
    np.fill_diagonal(value_NN, 1.0)
    return value_NN


def _volatility(return_RN: NDArray[np.float64]) -> float:
    known_RN = np.isfinite(return_RN)
    count_N = known_RN.sum(axis=0)
    square_N = np.where(known_RN, return_RN, 0.0) ** 2
    level_N = np.sqrt(square_N.sum(axis=0)[count_N > 0] / count_N[count_N > 0])
    return float(level_N.mean()) if len(level_N) else 0.0
