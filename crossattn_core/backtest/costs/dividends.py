"""Dividends of shares and funds."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CostInputs

__all__ = ["Dividend"]


@COSTS.register("dividend")
class Dividend(CarryingCost):
    """Quote currency of the row per unit held into it: longs receive it, shorts owe it. Cash on its row, before its trades."""

    line, order = "dividend", 65
    is_cost, is_per_unit = False, True
    longs_pay, shorts_pay = -1.0, 1.0
    valid = "a dividend is finite and not negative, and 0 where there is none"

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """As the panel books them."""
        amount_TN = inputs.panel.dividend_TN
        return None if amount_TN is None or not np.isfinite(amount_TN).any() else cls(np.nan_to_num(amount_TN))

    def is_valid(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Finite, not negative."""
        return np.isfinite(value) & (value >= 0)
