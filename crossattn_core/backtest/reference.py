"""The simulator as a loop that can be read: one row at a time, in money. The fast path must agree with it to 1e-12."""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.market import Market
from crossattn_core.backtest.simulate import CALL_TOLERANCE, called_weights, schedule_of
from crossattn_core.backtest.simulation import COST_KINDS
from crossattn_core.portfolio.target_weights import Targets

__all__ = ["simulate_by_loop"]


def simulate_by_loop(
    market: Market, targets: Targets, *, execution_lag: int, capital: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Equity (T,), units held after each row (T, N), and money by kind (T,), from the first decision on.

    Kinds are ``COST_KINDS``, paid, and ``dividend``, received.
    """
    schedule = schedule_of(market, targets, execution_lag)
    order_at = {fill: target_N.copy() for fill, target_N in zip(schedule.fill_K.tolist(), schedule.target_KN, strict=True)}
    rows, assets = len(market.as_of_T) - schedule.start, len(market.asset_ids)
    equity_T, units_TN = np.zeros(rows), np.zeros((rows, assets))
    paid = {kind: np.zeros(rows) for kind in (*COST_KINDS, "dividend")}
    cash, units_N, idle = capital, np.zeros(assets), 0.0
    for row in range(rows):
        at = schedule.start + row
        price_N = market.price_TN[at]
        value_N = units_N * price_N
        if row > 0:
            if market.funding_TN is not None:
                paid["funding"][row] = (value_N * market.funding_TN[at]).sum()
            paid["borrow"][row] = (np.maximum(-value_N, 0.0) * market.borrow_N).sum()
            paid["interest"][row] = -idle * market.interest
            cash -= paid["funding"][row] + paid["borrow"][row] + paid["interest"][row]
            if market.dividend_TN is not None:
                paid["dividend"][row] = (units_N * market.dividend_TN[at]).sum()
            cash += paid["dividend"][row]
            if market.delisted_TN is not None:
                paid["delisting"][row] = (value_N[market.delisted_TN[at]] * market.delisting_loss).sum()
                cash -= paid["delisting"][row]
        equity = cash + value_N.sum()
        if equity <= 0:  # ruin: whatever is left is written off, for good
            break
        gone_N = np.zeros(assets, dtype=bool) if market.delisted_TN is None else market.delisted_TN[at]
        if row in order_at or (units_N[gone_N] != 0).any():
            order_at.setdefault(row, np.full(assets, np.nan))[gone_N] = 0.0
        if row in order_at:
            target_N = order_at[row]
            trades_N = market.fillable_TN[at] & np.isfinite(target_N)
            root_N = np.zeros(assets) if market.impact_TN is None else market.impact_TN[at]
            linear_N = np.zeros(assets) if market.linear_impact_TN is None else market.linear_impact_TN[at]
            after = _after_costs(
                equity,
                np.where(trades_N, target_N, 0.0),
                value_N,
                np.where(trades_N, market.trade_cost_N, 0.0),
                np.where(trades_N, root_N, 0.0),
                np.where(trades_N, linear_N, 0.0),
            )
            trade_N = np.where(trades_N, target_N * after - value_N, 0.0)
            size_N = np.abs(trade_N)
            costs = {
                "fee": (size_N * market.fee_N).sum(),
                "spread": (size_N * market.half_spread_N).sum(),
                "slippage": (size_N * market.slippage_N).sum(),
                "impact": (root_N * size_N**1.5 + linear_N * size_N**2).sum(),
            }
            if equity - sum(costs.values()) <= 0:  # ruin: a trade that nobody can pay for does not happen
                break
            for kind, cost in costs.items():
                paid[kind][row] = cost
            # A closed position is exactly zero: a residue of rounding must not count as something left to settle.
            units_N = np.where(trades_N & (target_N == 0), 0.0, units_N + trade_N / price_N)
            cash -= trade_N.sum() + sum(costs.values())
            equity = cash + (units_N * price_N).sum()
            idle = max(equity - np.abs(units_N * price_N).sum(), 0.0)
        equity_T[row], units_TN[row] = equity, units_N
        gross = np.abs(units_N * price_N).sum() / equity
        over = market.margin_leverage > 0 and gross > market.margin_leverage * (1 + CALL_TOLERANCE)
        if over and row + 1 < rows and ((units_N != 0) & market.fillable_TN[at + 1]).any():
            called_N = called_weights(units_N * price_N / equity, market.margin_leverage)
            ordered_N = order_at.get(row + 1, np.full(assets, np.nan))
            order_at[row + 1] = np.where(np.isnan(ordered_N), called_N, ordered_N)
    return equity_T, units_TN, paid


def _after_costs(
    equity: float,
    target_N: NDArray[np.float64],
    value_N: NDArray[np.float64],
    cost_N: NDArray[np.float64],
    root_N: NDArray[np.float64],
    linear_N: NDArray[np.float64],
) -> float:
    """V+ of V+ = V - sum c m - sum r m^1.5 - sum l m^2, m = |w V+ - h|, by bisection: slow, and hard to get wrong."""
    low, high = 0.0, equity
    for _ in range(200):
        middle = 0.5 * (low + high)
        size_N = np.abs(target_N * middle - value_N)
        if middle + (cost_N * size_N + root_N * size_N**1.5 + linear_N * size_N**2).sum() > equity:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)
