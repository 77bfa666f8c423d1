"""What holding costs and pays, before the row's trades, and what idle cash earns. A rate by the year falls due row by row."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CashCost, CostInputs
from crossattn_core.panel.panel import Panel
from crossattn_core.universe import Asset

__all__ = ["Borrow", "Dividend", "Funding", "Interest", "WriteOff", "missing_settlements"]

_SETTLEMENT = np.timedelta64(8, "h")
_EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


@COSTS.register("funding")
class Funding(CarryingCost):
    """Settled in the bar up to the row, as a fraction of notional: longs pay a positive rate and shorts receive it.

    Settlements of one bar are summed and charged at the row's price: exact up to bars of 8 hours, which hold one each; a day's
    three are charged on what was held into the day's row.
    ``costs.funding`` switches it. A rate that the panel lacks is charged as zero (see ``missing_settlements``).
    """

    line, order = "funding", 50
    longs_pay, shorts_pay = 1.0, -1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        rate_TN = inputs.panel.funding_rate_TN
        return cls(np.nan_to_num(rate_TN)) if inputs.settings.funding and np.isfinite(rate_TN).any() else None


def missing_settlements(panel: Panel, assets: Sequence[Asset]) -> int:
    """Settlements expected at 00:00, 08:00 and 16:00 UTC of each listed perpetual in whose bar the panel has none."""
    paying = {asset.asset_id for asset in assets if asset.pays_funding}
    pays_N = np.array([asset_id in paying for asset_id in panel.asset_ids], dtype=bool)
    last_T, before_T = ((edge_T - _EPOCH) // _SETTLEMENT for edge_T in (panel.as_of_T, panel.as_of_T - panel.grid.step_us))
    due_T = last_T - before_T
    listed_TN = np.isfinite(panel.mark_price_TN)
    return int((due_T[:, None] * (pays_N & listed_TN & ~np.isfinite(panel.funding_rate_TN))).sum())


@COSTS.register("borrow")
class Borrow(CarryingCost):
    """``costs.<venue>.borrow_bps_per_year`` of short notional."""

    line, order = "borrow", 60
    longs_pay, shorts_pay = 0.0, 1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        rate_N = inputs.venue_rate_N("borrow_bps_per_year") / inputs.panel.grid.bars_per_year
        return cls(np.broadcast_to(rate_N, inputs.delisted_TN.shape)) if rate_N.any() else None


@COSTS.register("dividend")
class Dividend(CarryingCost):
    """Quote currency of the row per unit held into it: longs receive it, shorts owe it. Cash on its row, before its trades."""

    line, order = "dividend", 65
    is_cost, is_per_unit = False, True
    longs_pay, shorts_pay = -1.0, 1.0
    valid = "a dividend is finite and not negative, and 0 where there is none"

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        amount_TN = inputs.panel.dividend_TN
        return None if amount_TN is None or not np.isfinite(amount_TN).any() else cls(np.nan_to_num(amount_TN))

    def is_valid(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.isfinite(value) & (value >= 0)


@COSTS.register("write_off")
class WriteOff(CarryingCost):
    """1 - ``backtest.delisting_value`` of a delisted position's value, on its row before the settlement: a short gains it."""

    line, order = "delisting", 70
    longs_pay, shorts_pay = 1.0, -1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        loss = 1.0 - inputs.backtest.delisting_value
        return cls(np.where(inputs.delisted_TN, loss, 0.0)) if loss and inputs.delisted_TN.any() else None


@COSTS.register("interest")
class Interest(CashCost):
    """``costs.interest_bps_per_year`` earned on idle equity: a negative cost."""

    line, order = "interest", 80

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        bps = inputs.settings.interest_bps_per_year
        return cls(-(bps / 1e4 / inputs.panel.grid.bars_per_year)) if bps else None
