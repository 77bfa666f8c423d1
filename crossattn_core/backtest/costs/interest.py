"""Interest on idle cash."""

from typing import Self

from crossattn_core.backtest.costs.registry import COSTS, CashCost, CostInputs
from crossattn_core.days import HOURS_PER_YEAR

__all__ = ["Interest"]


@COSTS.register("interest")
class Interest(CashCost):
    """``costs.interest_bps_per_year`` earned on idle equity, hour by hour: a negative cost."""

    line, order = "interest", 80

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """At the knob."""
        bps = inputs.settings.interest_bps_per_year
        return cls(-(bps / 1e4 / HOURS_PER_YEAR)) if bps else None
