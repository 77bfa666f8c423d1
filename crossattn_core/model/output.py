"""What a network gives.

Axes: B decision rows, N assets, M sources (the same assets), O outputs, H heads, L lags.
"""

from typing import NamedTuple

from torch import Tensor

__all__ = ["NetworkOutput"]


class NetworkOutput(NamedTuple):
    """Forecasts in scaled units, and the attention behind them."""

    own_BNO: Tensor
    """The part that the asset's own past gives."""
    cross_BNO: Tensor
    """The part that the others give; 0 where nothing was readable."""
    weight_BHNML: Tensor
    """Attention as used, before dropout."""

    @property
    def forecast_BNO(self) -> Tensor:
        """Own part + cross part."""
        return self.own_BNO + self.cross_BNO
