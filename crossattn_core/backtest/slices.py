"""The same result by month and by day, and under other costs and delays; every metric by part is in parts.py."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.metrics import daily_returns, drawdowns, sharpe
from crossattn_core.backtest.simulate import simulate
from crossattn_core.backtest.simulation import Simulation

__all__ = ["by_month", "regime_names", "regime_of_rows", "sensitivity", "worst_days"]


def regime_names(regime_windows: pd.DataFrame) -> list[str]:
    """The regime of each window in words: its ``name``, or its number where it has none."""
    if "name" in regime_windows:
        return [str(name) for name in regime_windows["name"]]
    return [f"regime {regime}" for regime in regime_windows["regime"]]


def by_month(simulation: Simulation) -> pd.Series:
    """Net simple return of each calendar month (index 'YYYY-MM'); the first and the last may be parts."""
    day, day_return = daily_returns(simulation)
    month = day.astype("datetime64[M]").astype(str)
    return pd.Series(day_return, index=month).groupby(level=0).apply(lambda returns: float(np.prod(1 + returns) - 1))


def regime_of_rows(as_of_T: NDArray[np.datetime64], regime_windows: pd.DataFrame) -> NDArray[np.object_]:
    """(T,) regime in force at each row: that of the newest window confirmed on the row's day or before; None before the first."""
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    windows = regime_windows.assign(
        confirmed=pd.to_datetime(regime_windows["confirmed"]), regime=regime_names(regime_windows)
    ).sort_values("confirmed")
    confirmed = windows["confirmed"].to_numpy("datetime64[D]")
    regime = np.array([None, *windows["regime"]], dtype=object)
    return regime[np.searchsorted(confirmed, day_T, side="right")]


def worst_days(simulation: Simulation, symbols: tuple[str, ...], count: int = 5) -> pd.DataFrame:
    """Grain: day, the worst first: net return, and the three positions that moved it most (average weight, share of capital)."""
    day_T = (simulation.as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    day, day_return = daily_returns(simulation)
    rows = []
    for place in np.argsort(day_return, kind="stable")[:count]:
        inside_T = day_T == day[place]
        pnl_N = simulation.pnl_TN[inside_T].sum(axis=0)
        weight_N = simulation.weight_TN[inside_T].mean(axis=0)
        before = simulation.equity_T[max(int(np.argmax(inside_T)) - 1, 0)]
        largest = [asset for asset in np.argsort(-np.abs(pnl_N), kind="stable")[:3] if pnl_N[asset] != 0 and before > 0]
        moved = [f"{symbols[asset]} {weight_N[asset]:+.0%} made {pnl_N[asset] / before:+.2%}" for asset in largest]
        rows.append({"day": str(day[place]), "net_return": float(day_return[place]), "moved_by": ", ".join(moved)})
    return pd.DataFrame(rows, columns=["day", "net_return", "moved_by"])


def sensitivity(simulation: Simulation) -> pd.DataFrame:
    """Grain: scenario. The same targets under other trading costs, longer delays and more capital; the rule does not react.

    More capital pays square-root impact (a trade of an hour's volume costs one hourly standard deviation), whatever
    ``costs.impact`` is: the row says how far the strategy scales.
    """
    if not len(simulation.fill_K):
        return pd.DataFrame(columns=["scenario", "net_return", "sharpe", "max_drawdown"])
    market = simulation.market
    lag, targets = simulation.execution_lag, simulation.targets
    scenarios = [(f"costs x {multiple:g}", multiple, lag, 1.0) for multiple in (0.0, 1.0, 2.0, 3.0)]
    scenarios += [(f"filled {later} h later", 1.0, lag + later, 1.0) for later in (1, 3, 6)]
    if market.unit_impact_TN is not None and np.isfinite(market.unit_impact_TN).all():
        scenarios += [(f"capital x {scale:,.0f}, with impact", 1.0, lag, scale) for scale in (10.0, 100.0, 1000.0)]
    rows = []
    for name, multiple, delay, scale in scenarios:
        priced = replace(
            market,
            fee_N=market.fee_N * multiple,
            half_spread_N=market.half_spread_N * multiple,
            slippage_N=market.slippage_N * multiple,
            impact_TN=market.impact_TN if scale == 1.0 else market.unit_impact_TN,
        )
        done = simulate(priced, targets, execution_lag=delay, capital=simulation.capital * scale)
        rows.append(
            {
                "scenario": name,
                "net_return": float(done.equity_T[-1] / done.capital - 1),
                "sharpe": sharpe(done.return_T[1:]),
                "max_drawdown": min((fall.depth for fall in drawdowns(done.equity_T, 1)), default=0.0),
            }
        )
    return pd.DataFrame(rows)
