"""What a trade costs: by its notional at the venue's rates, one way, and by its impact on its own price.

Impact: ``sigma`` is the standard deviation of an hourly log return, ``volume`` the traded value of an hour, both from means over
fresh candles of the trailing week of rows, the row included, scaled from a bar to an hour. An asset whose volume is not known is
charged as the most expensive one that is. A settlement of a delisted asset is no order in a market, and moves nothing.

Axes: T rows, N assets.
"""

from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.costs.registry import COSTS, CostInputs, ImpactCost, NotionalCost
from crossattn_core.panel.panel import Panel

__all__ = ["Fee", "HalfSpread", "LinearImpact", "Slippage", "SquareRootImpact"]


@COSTS.register("fee")
class Fee(NotionalCost):
    """The venue's fee."""

    line, order, knob = "fee", 10, "fee_bps"


@COSTS.register("half_spread")
class HalfSpread(NotionalCost):
    """From the middle to the touch."""

    line, order, knob = "spread", 20, "half_spread_bps"


@COSTS.register("slippage")
class Slippage(NotionalCost):
    """From the touch to the fill."""

    line, order, knob = "slippage", 30, "slippage_bps"


@COSTS.register("square_root_impact")
class SquareRootImpact(ImpactCost):
    """A trade of m moves its price by c * sigma * sqrt(m / volume), so costs c * sigma / sqrt(volume) * m ^ 1.5.

    c: ``costs.impact``. The law is empirical (Almgren et al., 2005, and many since).
    """

    line, order, power = "impact", 40, 1.5

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        return cls.at(inputs, inputs.settings.impact) if inputs.settings.impact > 0 else None

    @classmethod
    def at(cls, inputs: CostInputs, coefficient: float) -> Self:
        """At c = ``coefficient``."""
        sigma_TN, volume_TN = _volatility_and_volume(inputs.panel)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit_TN = sigma_TN / np.sqrt(volume_TN)
        return cls(coefficient * _of_orders(unit_TN, inputs.delisted_TN))


@COSTS.register("linear_impact")
class LinearImpact(ImpactCost):
    """A trade of m moves its price by c * sigma * m / volume, so costs c * sigma / volume * m ^ 2 (Kyle, 1985).

    c: ``costs.linear_impact``. The law for small trades and resilient prices, harsher than the root beyond an hour's volume.
    """

    line, order, power = "impact", 41, 2.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        if not inputs.settings.linear_impact > 0:
            return None
        sigma_TN, volume_TN = _volatility_and_volume(inputs.panel)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit_TN = sigma_TN / volume_TN
        return cls(inputs.settings.linear_impact * _of_orders(unit_TN, inputs.delisted_TN))


def _volatility_and_volume(panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, N) standard deviation of an hourly log return and traded value of an hour, over the trailing rows."""
    week, hours = panel.grid.bars_per_week, panel.grid.hours_per_bar
    volume_TN = pd.DataFrame(panel.quote_volume_TN).rolling(week, min_periods=1).mean().to_numpy()
    change = pd.DataFrame(np.log(panel.mark_price_TN)).diff().where(panel.is_fresh_TN)
    sigma_TN = np.sqrt((change**2).rolling(week, min_periods=1).mean().to_numpy())
    return sigma_TN / np.sqrt(hours), volume_TN / hours


def _of_orders(unit_TN: NDArray[np.float64], delisted_TN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``unit_TN``, the row's largest where it is not known, and 0 for settlements."""
    known_TN = np.isfinite(unit_TN)
    largest_T1 = np.where(known_TN, unit_TN, 0.0).max(axis=1, keepdims=True)
    return np.where(delisted_TN, 0.0, np.where(known_TN, unit_TN, largest_T1))
