"""What a simulation leaves behind, and the accounts that follow from it.

Axes: T rows from the first decision on, K executions, N assets. Money is in quote currency.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.costs.registry import CarryingCost, CashCost, NotionalCost, account_lines
from crossattn_core.backtest.market import Market
from crossattn_core.portfolio.target_weights import Targets

__all__ = ["Simulation"]


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
    """(K, N) target weight; NaN where the position was to be left alone."""
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

    @property
    def units_TN(self) -> NDArray[np.float64]:
        """(T, N) units held after the row's trades. Made anew at each call, as every (T, N) array that many simulations have."""
        units_TN = np.zeros((len(self.equity_T), len(self.market.asset_ids)))
        if len(self.fill_K):
            execution_T = np.searchsorted(self.fill_K, np.arange(len(self.equity_T)), side="right") - 1
            held_T = execution_T >= 0
            units_TN[held_T] = self.units_KN[execution_T[held_T]]
        if self.ruined_at is not None:
            units_TN[self.ruined_at :] = 0.0
        return units_TN

    @property
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
        size_KN, rows_K = np.abs(self.trade_KN), self.start + self.fill_K
        return sum((cost.paid(size_KN, rows_K) for cost in self.market.impacts), np.zeros_like(size_KN))

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

    @property
    def asset_cost_lines(self) -> tuple[str, ...]:
        """Lines of the account that are costs of assets, in its order."""
        return self._asset_lines(is_cost=True)

    @property
    def asset_income(self) -> dict[str, NDArray[np.float64]]:
        """Each line that is no cost (dividends) -> (T, N) money received at the row; negative where a short paid it."""
        return {line: 0.0 - self.asset_line_TN(line) for line in self._asset_lines(is_cost=False)}

    def asset_line_TN(self, line: str) -> NDArray[np.float64]:
        """(T, N) money paid at the row under a line of the account; negative where received. Made anew at each call."""
        paid_TN = np.zeros((len(self.equity_T), len(self.market.asset_ids)))
        size_KN, rows_K = np.abs(self.trade_KN), self.start + self.fill_K
        for cost in (*self.market.charged(NotionalCost), *self.market.impacts):
            if cost.line == line:
                paid_TN[self.fill_K] += cost.paid(size_KN, rows_K)
        # The position that was held into the row pays, before the row's trades.
        for cost in self.market.charged(CarryingCost):
            if cost.line == line:
                rows = slice(self.start + 1, None)
                paid_TN[1:] += cost.paid(self.units_TN[:-1], self.market.price_TN[rows], rows)
        return paid_TN

    def _asset_lines(self, *, is_cost: bool) -> tuple[str, ...]:
        lines = account_lines(self.market.costs).items()
        return tuple(line for line, kind in lines if kind.is_cost == is_cost and not issubclass(kind, CashCost))

    @cached_property
    def cash_costs(self) -> dict[str, NDArray[np.float64]]:
        """Each line of idle cash -> (T,) money paid at the row; negative where earned."""
        paid = {line: np.zeros(len(self.equity_T)) for line, kind in account_lines().items() if issubclass(kind, CashCost)}
        for cost in self.market.charged(CashCost):
            paid[cost.line] = paid.get(cost.line, 0.0) + self._idle_T * cost.rate
        return paid

    @property
    def _idle_T(self) -> NDArray[np.float64]:
        """(T,) equity that the execution before the row left uninvested; 0 before the first."""
        idle_T = np.zeros(len(self.equity_T))
        if len(self.fill_K):
            value_KN = self.units_KN * self.market.price_TN[self.start + self.fill_K]
            idle_K = np.maximum(self.equity_T[self.fill_K] - np.abs(value_KN).sum(axis=1), 0.0)
            execution_T = np.searchsorted(self.fill_K, np.arange(len(self.equity_T)), side="left") - 1
            held_T = execution_T >= 0
            idle_T[held_T] = idle_K[execution_T[held_T]]
            if self.ruined_at is not None:
                idle_T[self.ruined_at + 1 :] = 0.0
        return idle_T

    @cached_property
    def costs(self) -> dict[str, NDArray[np.float64]]:
        """Each line of the account that is a cost, in its order -> (T,) money paid at the row."""
        paid = {line: self.asset_line_TN(line).sum(axis=1) for line in self.asset_cost_lines} | self.cash_costs
        return {line: paid[line] for line in account_lines(self.market.costs) if line in paid}

    @cached_property
    def income(self) -> dict[str, NDArray[np.float64]]:
        """Each line that is no cost -> (T,) money received at the row."""
        return {line: received_TN.sum(axis=1) for line, received_TN in self.asset_income.items()}

    @cached_property
    def pnl_TN(self) -> NDArray[np.float64]:
        """(T, N) net money made by each asset in the row; with interest it sums to the change of equity, up to ruin."""
        price_TN = self.market.price_TN[self.start :]
        pnl_TN = np.zeros_like(price_TN)
        pnl_TN[1:] = self.units_TN[:-1] * (price_TN[1:] - price_TN[:-1])
        for received_TN in self.asset_income.values():
            pnl_TN += received_TN
        for line in self.asset_cost_lines:
            pnl_TN -= self.asset_line_TN(line)
        return pnl_TN

    def by_row(self) -> pd.DataFrame:
        """Grain: as_of. Equity, net return, exposures, turnover, each line of the account; what ``returns.parquet`` stores."""
        return pd.DataFrame(
            {
                "as_of": self.as_of_T,
                "strategy": self.strategy,
                "equity": self.equity_T,
                "net_return": self.return_T,
                "gross_exposure": self.gross_exposure_T,
                "net_exposure": self.net_exposure_T,
                "turnover": self.turnover_T,
                **{f"{line}_paid": cost_T for line, cost_T in self.costs.items()},
                **{f"{line}_received": income_T for line, income_T in self.income.items()},
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
