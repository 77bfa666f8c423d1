"""The returns that every test of leads looks at."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import fresh_returns
from crossattn_core.stats.scaled_returns import volatility_scaled

__all__ = ["scaled_returns"]


def scaled_returns(panel: Panel) -> NDArray[np.float64]:
    """(T, N) ``fresh_returns`` in units of each asset's volatility known before the row, tails cut; NaN as there."""
    return volatility_scaled(fresh_returns(panel))
