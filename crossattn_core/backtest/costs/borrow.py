"""Borrowing what is sold short."""

from typing import Self

import numpy as np

from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CostInputs
from crossattn_core.days import HOURS_PER_YEAR

__all__ = ["Borrow"]


@COSTS.register("borrow")
class Borrow(CarryingCost):
    """``costs.<venue>.borrow_bps_per_year`` of short notional, hour by hour."""

    line, order = "borrow", 60
    longs_pay, shorts_pay = 0.0, 1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """At the venues' knobs."""
        rate_N = inputs.venue_rate_N("borrow_bps_per_year") / HOURS_PER_YEAR
        return cls(np.broadcast_to(rate_N, inputs.delisted_TN.shape)) if rate_N.any() else None
