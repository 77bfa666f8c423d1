"""The same targets under other trading costs, longer delays and more capital."""

from dataclasses import replace

import pandas as pd

from crossattn_core.backtest.costs.registry import NotionalCost
from crossattn_core.backtest.performance import drawdowns, periods_per_day, returns_by_period, sharpe
from crossattn_core.backtest.simulate import simulate
from crossattn_core.backtest.simulation import Simulation

__all__ = ["sensitivity"]


def sensitivity(simulation: Simulation) -> pd.DataFrame:
    """Grain: scenario. The same targets under other trading costs, longer delays and more capital; the rule does not react.

    More capital pays square-root impact (a trade of an hour's volume costs one hourly standard deviation), whatever
    ``costs.impact`` is: the row shows how far the strategy scales.
    """
    if not len(simulation.fill_K):
        return pd.DataFrame(columns=["scenario", "net_return", "sharpe", "max_drawdown"])
    market = simulation.market
    lag, targets = simulation.execution_lag, simulation.targets
    scenarios = [(f"costs x {multiple:g}", multiple, lag, 1.0) for multiple in (0.0, 1.0, 2.0, 3.0)]
    scenarios += [(f"filled {market.grid.label(later)} later", 1.0, lag + later, 1.0) for later in (1, 3, 6)]
    if market.unit_impact is not None:
        scenarios += [(f"capital x {scale:,.0f}, with impact", 1.0, lag, scale) for scale in (10.0, 100.0, 1000.0)]
    rows = []
    for name, multiple, delay, scale in scenarios:
        priced = market.with_costs(
            *(replace(cost, rate_N=cost.rate_N * multiple) for cost in market.charged(NotionalCost)),
            *([] if scale == 1.0 or market.unit_impact is None else [market.unit_impact]),
        )
        done = simulate(priced, targets, execution_lag=delay, capital=simulation.capital * scale)
        rows.append(
            {
                "scenario": name,
                "net_return": float(done.equity_T[-1] / done.capital - 1),
                "sharpe": sharpe(returns_by_period(done), 365 * periods_per_day(market.grid)),
                "max_drawdown": min((fall.depth for fall in drawdowns(done.equity_T, 1)), default=0.0),
            }
        )
    return pd.DataFrame(rows)
