"""The market day by day: what every regime detector reads.

Axes: D complete days of the panel, H bars of a day, T rows, N assets. Sums run within a day, so a day's numbers keep
their bits when later days arrive.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import ContractError
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.returns import log_returns

__all__ = ["MarketDays", "daily_correlation", "fresh_returns", "market_days", "panel_days", "return_products"]

_MIN_COMMON_BARS = 6
_DAYS_OF_FEW_BARS = 20
"""Trailing days of a correlation where a day alone has too few bars."""


@dataclass(frozen=True)
class MarketDays:
    """Returns of bars between neighbouring fresh candles, by day, with their daily sums."""

    day_D: tuple[date, ...]
    return_DHN: NDArray[np.float64]
    """(D, H, N) log returns of bars; NaN unless both candles are fresh."""
    squares_DN: NDArray[np.float64]
    """(D, N) sum of squared log returns."""
    returns_DN: NDArray[np.float64]
    """(D, N) sum of log returns; 0 without any."""
    bars_DN: NDArray[np.int64]
    """(D, N) returns in the sums."""


def panel_days(panel: Panel) -> tuple[date, ...]:
    """The complete days of the panel.

    Raises:
        ContractError: the panel does not start with a day's first row.
    """
    if len(panel.as_of_T) == 0:
        return ()
    grid, first = panel.grid, panel.as_of_T[0].astype("datetime64[us]") - panel.grid.step_us
    if first != first.astype("datetime64[D]"):
        raise ContractError(
            f"the panel starts at {panel.as_of_T[0]}Z; a panel of whole days starts {grid.words()} after midnight"
        )
    count = len(panel.as_of_T) // grid.bars_per_day
    days_D = first.astype("datetime64[D]") + np.arange(count)
    return tuple(days_D.tolist())


def fresh_returns(panel: Panel) -> NDArray[np.float64]:
    """(T, N) log return between the trade prices of rows t - 1 and t; NaN unless both rows carry a fresh candle.

    A move over a closed market is not a bar's return and is left out; with daily bars it is one, and counts on the day on
    which the market opens again.
    """
    if panel.grid.bars_per_day > 1:
        return log_returns(panel.trade_price_TN)
    return_TN = np.full(panel.trade_price_TN.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return_TN[1:] = np.log(panel.trade_price_TN[1:] / panel.mark_price_TN[:-1])
    return return_TN


def market_days(panel: Panel) -> MarketDays:
    """Sum the returns of each complete day."""
    days, bars = panel_days(panel), panel.grid.bars_per_day
    return_TN = fresh_returns(panel)[: len(days) * bars]
    return_DHN = return_TN.reshape(len(days), bars, return_TN.shape[1])
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
    """(D, N, N) each: sum of r_i r_j, sum of r_i^2 where j is known, and count of common bars, over the bars of each day.

    One small product a day: a day's bits do not depend on how many days follow.
    """
    known_DHN = np.isfinite(market.return_DHN)
    return_DHN = np.where(known_DHN, market.return_DHN, 0.0)
    known_DHN = known_DHN.astype(np.float64)
    turned_DNH = np.swapaxes(return_DHN, 1, 2)
    return turned_DNH @ return_DHN, np.swapaxes(return_DHN**2, 1, 2) @ known_DHN, np.swapaxes(known_DHN, 1, 2) @ known_DHN


def daily_correlation(market: MarketDays) -> NDArray[np.float64]:
    """(D,) mean over pairs of the day's correlation of returns (about zero); NaN where no pair has six common bars.

    Where a day has fewer bars than that, over the trailing twenty days.
    """
    product_DNN, square_DNN, common_DNN = return_products(market)
    if market.return_DHN.shape[1] < _MIN_COMMON_BARS:
        product_DNN, square_DNN, common_DNN = (_trailing(each) for each in (product_DNN, square_DNN, common_DNN))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation_DNN = product_DNN / np.sqrt(square_DNN * np.swapaxes(square_DNN, 1, 2))
        counted_DNN = (common_DNN >= _MIN_COMMON_BARS) & np.isfinite(correlation_DNN)
        counted_DNN &= ~np.eye(correlation_DNN.shape[1], dtype=bool)
        return np.where(counted_DNN, correlation_DNN, 0.0).sum(axis=(1, 2)) / counted_DNN.sum(axis=(1, 2))


def _trailing(sum_DNN: NDArray[np.float64]) -> NDArray[np.float64]:
    # Summed day by day: a day's bits do not depend on how many days follow.
    total_DNN = np.zeros_like(sum_DNN)
    for back in range(min(_DAYS_OF_FEW_BARS, len(sum_DNN))):
        total_DNN[back:] += sum_DNN[: len(sum_DNN) - back]
    return total_DNN
