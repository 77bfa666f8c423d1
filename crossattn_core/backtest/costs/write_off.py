"""What is lost with an asset that is delisted."""

from typing import Self

import numpy as np

from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CostInputs

__all__ = ["WriteOff"]


@COSTS.register("write_off")
class WriteOff(CarryingCost):
    """1 - ``backtest.delisting_value`` of a delisted position's value, on its row before the settlement: a short gains it."""

    line, order = "delisting", 70
    longs_pay, shorts_pay = 1.0, -1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """At the knob."""
        loss = 1.0 - inputs.backtest.delisting_value
        return cls(np.where(inputs.delisted_TN, loss, 0.0)) if loss and inputs.delisted_TN.any() else None
