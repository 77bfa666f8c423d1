"""What every trade costs, in proportion to its notional: one way, by venue."""

from typing import Self

from crossattn_core.backtest.costs.registry import COSTS, CostInputs, NotionalCost

__all__ = ["Fee", "HalfSpread", "Slippage"]


@COSTS.register("fee")
class Fee(NotionalCost):
    """The venue's fee: ``costs.<venue>.fee_bps`` of traded notional."""

    line, order = "fee", 10

    @classmethod
    def of(cls, inputs: CostInputs) -> Self:
        """At the venues' knobs."""
        return cls(inputs.venue_rate_N("fee_bps"))


@COSTS.register("half_spread")
class HalfSpread(NotionalCost):
    """From the middle to the touch: ``costs.<venue>.half_spread_bps`` of traded notional."""

    line, order = "spread", 20

    @classmethod
    def of(cls, inputs: CostInputs) -> Self:
        """At the venues' knobs."""
        return cls(inputs.venue_rate_N("half_spread_bps"))


@COSTS.register("slippage")
class Slippage(NotionalCost):
    """From the touch to the fill: ``costs.<venue>.slippage_bps`` of traded notional."""

    line, order = "slippage", 30

    @classmethod
    def of(cls, inputs: CostInputs) -> Self:
        """At the venues' knobs."""
        return cls(inputs.venue_rate_N("slippage_bps"))
