"""The returns that every test of leads looks at."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import fresh_returns
from crossattn_core.stats.returns import log_returns
from crossattn_core.stats.scaled_returns import volatility_scaled

__all__ = ["scaled_prices", "scaled_returns"]

_SCALED_MOVE = 0.01
"""Log return that stands for one deviation in a scaled price; any number would do."""


def scaled_returns(panel: Panel) -> NDArray[np.float64]:
    """(T, N) ``fresh_returns`` in units of each asset's volatility known before the row, tails cut; NaN as there."""
    return volatility_scaled(fresh_returns(panel))


def scaled_prices(panel: Panel) -> NDArray[np.float64]:
    """(T, N) prices whose returns between an asset's successive trades are scaled ones; NaN where it has no trade.

    For tests that look at returns over closed hours too, which no single bar holds.
    """
    price_TN = np.full(panel.trade_price_TN.shape, np.nan)
    for n, trade_T in enumerate(np.asarray(panel.trade_price_TN).T):
        row_K = np.flatnonzero(np.isfinite(trade_T))
        scaled_K = volatility_scaled(log_returns(trade_T[row_K])[:, None])[:, 0]
        price_TN[row_K, n] = np.exp(_SCALED_MOVE * np.cumsum(np.nan_to_num(scaled_K)))
    return price_TN
