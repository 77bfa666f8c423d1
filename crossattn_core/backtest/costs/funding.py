"""Funding of perpetual futures."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CostInputs
from crossattn_core.panel.panel import Panel
from crossattn_core.universe import Asset

__all__ = ["Funding", "missing_settlements"]


@COSTS.register("funding")
class Funding(CarryingCost):
    """Settled in the hour up to the row, as a fraction of notional: longs pay a positive rate and shorts receive it.

    ``costs.funding`` switches it. A rate that the panel lacks is charged as zero (see ``missing_settlements``).
    """

    line, order = "funding", 50
    longs_pay, shorts_pay = 1.0, -1.0

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """At the rates of the panel."""
        if not inputs.settings.funding or not np.isfinite(inputs.panel.funding_rate_TN).any():
            return None
        return cls(np.nan_to_num(inputs.panel.funding_rate_TN))


def missing_settlements(panel: Panel, assets: Sequence[Asset]) -> int:
    """Settlements expected at 00:00, 08:00 and 16:00 UTC of each listed perpetual that the panel does not have."""
    paying = {asset.asset_id for asset in assets if asset.pays_funding}
    hour_T = panel.as_of_T.astype("datetime64[h]").astype(np.int64) % 24
    due_T = np.isin(hour_T, (0, 8, 16))
    missing = 0
    for asset, asset_id in enumerate(panel.asset_ids):
        if asset_id in paying:
            listed_T = np.isfinite(panel.mark_price_TN[:, asset])
            missing += int((due_T & listed_T & ~np.isfinite(panel.funding_rate_TN[:, asset])).sum())
    return missing
