"""The simulator as a loop that can be read: one row at a time, in money. The fast path must agree with it to 1e-12."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.costs.registry import CarryingCost, CashCost, ImpactCost, NotionalCost, account_lines
from crossattn_core.backtest.market import Market
from crossattn_core.backtest.simulate import CALL_TOLERANCE, RUIN_SHARE, called_weights, check_capital, schedule_of
from crossattn_core.portfolio.target_weights import Targets

__all__ = ["simulate_by_loop"]


def simulate_by_loop(
    market: Market, targets: Targets, *, execution_lag: int, capital: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Equity (T,), units held after each row (T, N), and money paid (T,) by line of the account, from the first decision on."""
    check_capital(capital)
    schedule = schedule_of(market, targets, execution_lag)
    order_at = {fill: target_N.copy() for fill, target_N in zip(schedule.fill_K.tolist(), schedule.target_KN, strict=True)}
    rows, assets = len(market.as_of_T) - schedule.start, len(market.asset_ids)
    equity_T, units_TN = np.zeros(rows), np.zeros((rows, assets))
    paid = {line: np.zeros(rows) for line in account_lines(market.costs)}
    trade_costs = (*market.charged(NotionalCost), *market.impacts)
    cash, units_N, idle = capital, np.zeros(assets), 0.0
    for row in range(rows):
        at = schedule.start + row
        price_N = market.price_TN[at]
        value_N = units_N * price_N
        if row > 0:
            for cost in market.charged(CarryingCost):
                paid[cost.line][row] += cost.paid(units_N, price_N, at).sum()
            for cost in market.charged(CashCost):
                paid[cost.line][row] += idle * cost.rate
            cash -= sum(paid_T[row] for paid_T in paid.values())
        equity = cash + value_N.sum()
        nothing = RUIN_SHARE * equity_T[:row].max(initial=capital)
        if equity <= nothing:  # ruin: whatever is left is written off, for good
            break
        gone_N = np.zeros(assets, dtype=bool) if market.delisted_TN is None else market.delisted_TN[at]
        if row in order_at or (units_N[gone_N] != 0).any():
            order_at.setdefault(row, np.full(assets, np.nan))[gone_N] = 0.0
        if row in order_at:
            target_N = order_at[row]
            trades_N = market.fillable_TN[at] & np.isfinite(target_N)
            after = _after_costs(trade_costs, at, equity, target_N, value_N, trades_N)
            trade_N = np.where(trades_N, target_N * after - value_N, 0.0)
            costs = [(cost.line, cost.paid(np.abs(trade_N), at).sum()) for cost in trade_costs]
            total = sum(money for _, money in costs)
            if equity - total <= nothing:  # ruin: a trade that nobody can pay for does not happen
                break
            for line, money in costs:
                paid[line][row] += money
            # A closed position is exactly zero: a residue of rounding must not count as something left to settle.
            units_N = np.where(trades_N & (target_N == 0), 0.0, units_N + trade_N / price_N)
            cash -= trade_N.sum() + total
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
    trade_costs: Sequence[NotionalCost | ImpactCost],
    at: int,
    equity: float,
    target_N: NDArray[np.float64],
    value_N: NDArray[np.float64],
    trades_N: NDArray[np.bool_],
) -> float:
    """The largest V+ of V+ = V - sum of costs of |w V+ - h|, by halves: slow, and hard to get wrong. 0 where there is none.

    What is missing is convex in V+. Where it is missing at 0 too, its least value is found by thirds: above it is the root.
    """

    def missing(after: float) -> float:
        size_N = np.where(trades_N, np.abs(target_N * after - value_N), 0.0)
        return float(after + sum(cost.paid(size_N, at).sum() for cost in trade_costs) - equity)

    least = 0.0
    if missing(0.0) > 0:
        least = _least(missing, 0.0, equity)
        if missing(least) > 0:
            return 0.0
    low, high = least, equity
    for _ in range(100):
        middle = 0.5 * (low + high)
        if missing(middle) > 0:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a convex ``function`` is least between ``low`` and ``high``."""
    for _ in range(100):
        lower, upper = low + (high - low) / 3, high - (high - low) / 3
        if function(lower) > function(upper):
            low = lower
        else:
            high = upper
    return high
