"""What a simulation leaves behind, and the accounts that follow from it.

Axes: T rows from the first decision on, K executions, N assets. Money is in quote currency.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.market import Market
from crossattn_core.portfolio.target_weights import Targets

__all__ = ["COST_KINDS", "Simulation"]

COST_KINDS = ("fee", "spread", "slippage", "impact", "funding", "borrow", "delisting", "interest")
"""The parts that costs are split into; each is money paid, negative where received."""


@dataclass(frozen=True)
class Simulation:
    """One strategy, simulated. Row 0 is its first decision; positions are what is held after the row's trades."""

    targets: Targets
    execution_lag: int
    market: Market
    start: int
    """Row of the market that is row 0 here."""
    capital: float
    equity_T: NDArray[np.float64]
    """(T,) equity after the row's funding, borrow and trades; 0 from ruin on."""
    fill_K: NDArray[np.int64]
    """(K,) rows (counted from ``start``) at which orders filled."""
    decided_K: NDArray[np.int64]
    """(K,) rows (counted from ``start``) at which they were decided."""
    units_KN: NDArray[np.float64]
    """(K, N) units held from the fill to the next one."""
    trade_KN: NDArray[np.float64]
    """(K, N) notional bought (negative: sold) at the fill."""
    target_KN: NDArray[np.float64]
    """(K, N) weight asked for; NaN where the position was to be left alone."""
    margin_calls: tuple[int, ...] = ()
    """Rows at whose end a margin call came; filled one row later."""
    ruined_at: int | None = None
    """Row of ruin: equity reached zero, every position is closed and nothing is traded again."""

    @property
    def strategy(self) -> str:
        """Whose simulation it is."""
        return self.targets.strategy

    @cached_property
    def as_of_T(self) -> NDArray[np.datetime64]:
        """(T,) instants of the rows."""
        return self.market.as_of_T[self.start :]

    @cached_property
    def return_T(self) -> NDArray[np.float64]:
        """(T,) net simple return of each row; 0 at row 0 and after ruin."""
        return_T = np.zeros(len(self.equity_T))
        before_T = self.equity_T[:-1]
        np.divide(self.equity_T[1:] - before_T, before_T, out=return_T[1:], where=before_T > 0)
        return return_T

    @cached_property
    def units_TN(self) -> NDArray[np.float64]:
        """(T, N) units held after the row's trades."""
        units_TN = np.zeros((len(self.equity_T), len(self.market.asset_ids)))
        if len(self.fill_K):
            execution_T = np.searchsorted(self.fill_K, np.arange(len(self.equity_T)), side="right") - 1
            held_T = execution_T >= 0
            units_TN[held_T] = self.units_KN[execution_T[held_T]]
        if self.ruined_at is not None:
            units_TN[self.ruined_at :] = 0.0
        return units_TN

    @cached_property
    def weight_TN(self) -> NDArray[np.float64]:
        """(T, N) share of equity held after the row's trades."""
        value_TN = self.units_TN * self.market.price_TN[self.start :]
        equity_T1 = self.equity_T[:, None]
        return np.divide(value_TN, equity_T1, out=np.zeros_like(value_TN), where=equity_T1 > 0)

    @cached_property
    def gross_exposure_T(self) -> NDArray[np.float64]:
        """(T,) sum |weight|."""
        return np.abs(self.weight_TN).sum(axis=1)

    @cached_property
    def net_exposure_T(self) -> NDArray[np.float64]:
        """(T,) sum of weights."""
        return self.weight_TN.sum(axis=1)

    @cached_property
    def impact_KN(self) -> NDArray[np.float64]:
        """(K, N) money lost to the impact of each trade on its own price."""
        root_KN, linear_KN = self.market.impact_at(self.start + self.fill_K)
        size_KN = np.abs(self.trade_KN)
        return root_KN * size_KN**1.5 + linear_KN * size_KN**2

    @cached_property
    def paid_KN(self) -> NDArray[np.float64]:
        """(K, N) money that each trade cost."""
        return np.abs(self.trade_KN) * self.market.trade_cost_N + self.impact_KN

    @cached_property
    def turnover_T(self) -> NDArray[np.float64]:
        """(T,) sum |trade| / equity before the trade; one-way trades counted once each, never halved."""
        turnover_T = np.zeros(len(self.equity_T))
        if len(self.fill_K):
            before_K = self.equity_T[self.fill_K] + self.paid_KN.sum(axis=1)
            np.divide(np.abs(self.trade_KN).sum(axis=1), before_K, out=(rate_K := np.zeros(len(before_K))), where=before_K > 0)
            turnover_T[self.fill_K] = rate_K
        return turnover_T

    @cached_property
    def asset_costs(self) -> dict[str, NDArray[np.float64]]:
        """Each of ``COST_KINDS`` but interest -> (T, N) money paid at the row; negative where received."""
        rows, assets = len(self.equity_T), len(self.market.asset_ids)
        costs = {kind: np.zeros((rows, assets)) for kind in COST_KINDS if kind != "interest"}
        notional_KN = np.abs(self.trade_KN)
        costs["fee"][self.fill_K] = notional_KN * self.market.fee_N
        costs["spread"][self.fill_K] = notional_KN * self.market.half_spread_N
        costs["slippage"][self.fill_K] = notional_KN * self.market.slippage_N
        costs["impact"][self.fill_K] = self.impact_KN
        # The position that was held into the row pays, before the row's trades.
        held_TN = self.units_TN[:-1] * self.market.price_TN[self.start + 1 :]
        if self.market.funding_TN is not None:
            costs["funding"][1:] = held_TN * self.market.funding_TN[self.start + 1 :]
        costs["borrow"][1:] = np.maximum(-held_TN, 0.0) * self.market.borrow_N
        if self.market.written_off_TN is not None:
            costs["delisting"][1:] = self.units_TN[:-1] * self.market.written_off_TN[self.start + 1 :]
        return costs

    @cached_property
    def dividend_TN(self) -> NDArray[np.float64]:
        """(T, N) dividends received at the row on what was held into it; negative where a short paid them."""
        received_TN = np.zeros((len(self.equity_T), len(self.market.asset_ids)))
        if self.market.dividend_TN is not None:
            received_TN[1:] = self.units_TN[:-1] * self.market.dividend_TN[self.start + 1 :]
        return received_TN

    @cached_property
    def costs(self) -> dict[str, NDArray[np.float64]]:
        """Each of ``COST_KINDS`` -> (T,) money paid at the row."""
        interest_T = np.zeros(len(self.equity_T))
        if self.market.interest and len(self.fill_K):
            value_KN = self.units_KN * self.market.price_TN[self.start + self.fill_K]
            idle_K = np.maximum(self.equity_T[self.fill_K] - np.abs(value_KN).sum(axis=1), 0.0)
            execution_T = np.searchsorted(self.fill_K, np.arange(len(self.equity_T)), side="left") - 1
            held_T = execution_T >= 0
            interest_T[held_T] = -idle_K[execution_T[held_T]] * self.market.interest
            if self.ruined_at is not None:
                interest_T[self.ruined_at + 1 :] = 0.0
        return {kind: cost_TN.sum(axis=1) for kind, cost_TN in self.asset_costs.items()} | {"interest": interest_T}

    @cached_property
    def pnl_TN(self) -> NDArray[np.float64]:
        """(T, N) net money made by each asset in the row; with interest it sums to the change of equity, up to ruin."""
        price_TN = self.market.price_TN[self.start :]
        pnl_TN = np.zeros_like(price_TN)
        pnl_TN[1:] = self.units_TN[:-1] * (price_TN[1:] - price_TN[:-1])
        pnl_TN += self.dividend_TN
        for cost_TN in self.asset_costs.values():
            pnl_TN -= cost_TN
        return pnl_TN

    def hourly(self) -> pd.DataFrame:
        """Grain: as_of. Equity, net return, exposures, turnover, each cost and dividends; what ``returns.parquet`` stores."""
        return pd.DataFrame(
            {
                "as_of": self.as_of_T,
                "strategy": self.strategy,
                "equity": self.equity_T,
                "net_return": self.return_T,
                "gross_exposure": self.gross_exposure_T,
                "net_exposure": self.net_exposure_T,
                "turnover": self.turnover_T,
                **{f"{kind}_paid": cost_T for kind, cost_T in self.costs.items()},
                "dividend_received": self.dividend_TN.sum(axis=1),
            }
        )

    def trades(self) -> pd.DataFrame:
        """Grain: filled_at x asset. Every trade with its price, size, weights before and after, and cost."""
        execution, asset = np.nonzero(self.trade_KN)
        row = self.fill_K[execution]
        price = self.market.price_TN[self.start + row, asset]
        notional = self.trade_KN[execution, asset]
        after = self.units_KN[execution, asset] * price
        paid = self.paid_KN[execution, asset]
        paid_K = self.paid_KN.sum(axis=1)
        equity_after = self.equity_T[row]
        return pd.DataFrame(
            {
                "decided_at": self.as_of_T[self.decided_K[execution]],
                "filled_at": self.as_of_T[row],
                "asset_id": np.asarray(self.market.asset_ids, dtype=object)[asset],
                "price": price,
                "units": notional / price,
                "notional": notional,
                "weight_before": (after - notional) / (equity_after + paid_K[execution]),
                "weight_after": np.divide(after, equity_after, out=np.zeros_like(after), where=equity_after > 0),
                "target_weight": self.target_KN[execution, asset],
                "cost_paid": paid,
            }
        )
