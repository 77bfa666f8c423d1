"""The market day by day: what every regime detector reads.

Axes: D complete days of the panel, H hours of a day, T hourly rows, N assets. Sums run within a day, so a day's numbers keep
their bits when later days arrive.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import ContractError
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.returns import log_returns

__all__ = ["BARS_A_DAY", "MarketDays", "daily_correlation", "fresh_returns", "market_days", "panel_days", "return_products"]

BARS_A_DAY = 24
_MIN_COMMON_HOURS = 6


@dataclass(frozen=True)
class MarketDays:
    """Hourly returns between neighbouring fresh candles, by day, with their daily sums."""

    day_D: tuple[date, ...]
    return_DHN: NDArray[np.float64]
    """(D, 24, N) hourly log returns; NaN unless both candles are fresh."""
    squares_DN: NDArray[np.float64]
    """(D, N) sum of squared hourly log returns."""
    returns_DN: NDArray[np.float64]
    """(D, N) sum of hourly log returns; 0 without any."""
    bars_DN: NDArray[np.int64]
    """(D, N) hourly returns in the sums."""


def panel_days(panel: Panel) -> tuple[date, ...]:
    """The complete days of the panel.

    Raises:
        ContractError: the panel does not start with a day's first row (01:00).
    """
    if len(panel.as_of_T) == 0:
        return ()
    first = panel.as_of_T[0].astype("datetime64[us]").item()
    if (first.hour, first.minute) != (1, 0):
        raise ContractError(f"the panel starts at {first:%Y-%m-%d %H:%M}Z; a panel of whole days starts at 01:00")
    count = len(panel.as_of_T) // BARS_A_DAY
    days_D = panel.as_of_T[: count * BARS_A_DAY : BARS_A_DAY].astype("datetime64[D]")
    return tuple(days_D.tolist())


def fresh_returns(panel: Panel) -> NDArray[np.float64]:
    """(T, N) log return between the trade prices of rows t - 1 and t; NaN unless both rows carry a fresh candle.

    A move over a closed market is not an hourly return and is left out.
    """
    return log_returns(panel.trade_price_TN)


def market_days(panel: Panel) -> MarketDays:
    """Sum the hourly returns of each complete day."""
    days = panel_days(panel)
    return_TN = fresh_returns(panel)[: len(days) * BARS_A_DAY]
    return_DHN = return_TN.reshape(len(days), BARS_A_DAY, return_TN.shape[1])
    known_DHN = np.isfinite(return_DHN)
    filled_DHN = np.where(known_DHN, return_DHN, 0.0)
    return MarketDays(
        day_D=days,
        return_DHN=return_DHN,
        squares_DN=(filled_DHN**2).sum(axis=1),
        returns_DN=filled_DHN.sum(axis=1),
        bars_DN=known_DHN.sum(axis=1),
    )


def return_products(market: MarketDays) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(D, N, N) each: sum of r_i r_j, sum of r_i^2 where j is known, and count of common hours, over the hours of each day.

    One small product a day: a day's bits do not depend on how many days follow.
    """
    known_DHN = np.isfinite(market.return_DHN)
    return_DHN = np.where(known_DHN, market.return_DHN, 0.0)
    known_DHN = known_DHN.astype(np.float64)
    turned_DNH = np.swapaxes(return_DHN, 1, 2)
    return turned_DNH @ return_DHN, np.swapaxes(return_DHN**2, 1, 2) @ known_DHN, np.swapaxes(known_DHN, 1, 2) @ known_DHN


def daily_correlation(market: MarketDays) -> NDArray[np.float64]:
    """(D,) mean over pairs of the day's correlation of hourly returns (about zero); NaN where no pair has six common hours."""
    product_DNN, square_DNN, common_DNN = return_products(market)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation_DNN = product_DNN / np.sqrt(square_DNN * np.swapaxes(square_DNN, 1, 2))
        counted_DNN = (common_DNN >= _MIN_COMMON_HOURS) & np.isfinite(correlation_DNN)
        counted_DNN &= ~np.eye(correlation_DNN.shape[1], dtype=bool)
        return np.where(counted_DNN, correlation_DNN, 0.0).sum(axis=(1, 2)) / counted_DNN.sum(axis=(1, 2))
