"""What every trade costs, in proportion to its notional: one way, by venue."""

from crossattn_core.backtest.costs.registry import COSTS, NotionalCost

__all__ = ["Fee", "HalfSpread", "Slippage"]


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
