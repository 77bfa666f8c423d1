"""A simulation by part: every metric of its years, months and regimes, of its venues and assets; its worst days.

A part of the time is the strategy's own rows there. A part of the universe is what an account would have earned that held
those assets' positions alone, in the same shares of equity: a row's return is what they made over the equity before it.
Costs, dividends and turnover are shares of the equity before each row, added up.

Axes: T rows after the first decision's, N assets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.comparison import benchmark_relative
from crossattn_core.backtest.metrics.registry import metrics_of_track
from crossattn_core.backtest.metrics.track import Track
from crossattn_core.backtest.performance import daily_returns, period_returns, periods_per_day, sharpe
from crossattn_core.backtest.simulation import Simulation

__all__ = ["by_month", "metrics_by_part", "regime_names", "regime_of_rows", "worst_days"]


def metrics_by_part(
    simulation: Simulation,
    benchmark: Simulation | None,
    *,
    regime_windows: pd.DataFrame | None,
    groups: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """Grain: kind x part, in the order of time or of the universe.

    Columns: ``kind`` (year, month, regime, or a key of ``groups``), ``part``, ``assets`` (how many), ``net_contribution``
    (money made in the part over capital; adds up over a kind to the net return, idle cash's interest apart), every one of
    ``metrics_of``, and with a benchmark its ``benchmark_return`` and ``benchmark_sharpe`` over the same rows and every field of
    ``BenchmarkRelative``.

    Args:
        simulation: what is cut.
        benchmark: over the same rows.
        regime_windows: as ``regime_windows`` lists them; without, no regimes.
        groups: kind -> the part that each asset belongs to.

    Before the second row there is no return, and no part.
    """
    accounts = _Accounts(simulation)
    if not len(accounts.as_of_T):
        return pd.DataFrame(columns=["kind", "part"])
    day_T = accounts.as_of_T - np.timedelta64(1, "us")
    times = {"year": day_T.astype("datetime64[Y]").astype(str), "month": day_T.astype("datetime64[M]").astype(str)}
    if regime_windows is not None and len(regime_windows):
        times["regime"] = regime_of_rows(simulation.as_of_T, regime_windows)[1:]
    always_T, every_N = (np.ones(count, dtype=bool) for count in accounts.made_TN.shape)
    lines = []
    for kind, label_T in times.items():
        for part in sorted({str(label) for label in label_T if label is not None}):
            lines.append({"kind": kind, "part": part, **_line(accounts, benchmark, label_T == part, every_N, whole=True)})
    for kind, part_N in groups.items():
        for part in dict.fromkeys(part_N):
            inside_N = np.array([name == part for name in part_N])
            lines.append({"kind": kind, "part": part, **_line(accounts, benchmark, always_T, inside_N, whole=False)})
    return pd.DataFrame(lines)


class _Accounts:
    """The account of a simulation by row and asset, over the equity before each row; rows after the first."""

    def __init__(self, simulation: Simulation) -> None:
        rows = len(simulation.equity_T)
        before_T = simulation.equity_T[:-1]

        def shares(money_TX: NDArray[np.float64]) -> NDArray[np.float64]:
            divisor = before_T.reshape(-1, *(1,) * (money_TX.ndim - 1))
            return np.divide(money_TX[1:], divisor, out=np.zeros_like(money_TX[1:]), where=divisor > 0)

        traded_TN = np.zeros((rows, len(simulation.market.asset_ids)), dtype=bool)
        traded_TN[simulation.fill_K] = simulation.trade_KN != 0
        # Turnover is over the equity just before the trade: the row's own rate, split by size.
        size_KN = np.abs(simulation.trade_KN)
        whole_K1 = size_KN.sum(axis=1, keepdims=True)
        turnover_TN = np.zeros(traded_TN.shape)
        turnover_TN[simulation.fill_K] = np.divide(size_KN, whole_K1, out=np.zeros_like(size_KN), where=whole_K1 > 0)
        turnover_TN *= simulation.turnover_T[:, None]
        called_T, ruined_T = np.zeros((2, rows), dtype=bool)
        called_T[list(simulation.margin_calls)] = True
        if simulation.ruined_at is not None:
            ruined_T[simulation.ruined_at] = True
        self.as_of_T, self.return_T = simulation.as_of_T[1:], simulation.return_T[1:]
        self.made_TN, self.weight_TN = shares(simulation.pnl_TN), simulation.weight_TN[1:]
        self.turnover_TN, self.traded_TN = turnover_TN[1:], traded_TN[1:]
        self.paid_TN = {line: shares(simulation.asset_line_TN(line)) for line in simulation.asset_cost_lines}
        self.paid_T = {line: shares(cost_T) for line, cost_T in simulation.cash_costs.items()}
        self.received_TN = {line: shares(income_TN) for line, income_TN in simulation.asset_income.items()}
        # Money made over the starting capital.
        self.money_TN, self.money_T = (
            simulation.pnl_TN[1:] / simulation.capital,
            np.diff(simulation.equity_T) / simulation.capital,
        )
        self.called_T, self.ruined_T = called_T[1:], ruined_T[1:]
        self.grid = simulation.market.grid


def _line(
    accounts: _Accounts, benchmark: Simulation | None, inside_T: NDArray[np.bool_], inside_N: NDArray[np.bool_], *, whole: bool
) -> dict[str, float | int | bool]:
    """One part; ``whole``: all assets and cash, so that the return is the strategy's own."""

    def cut(value_TN: NDArray[Any]) -> NDArray[Any]:
        return value_TN[np.ix_(inside_T, inside_N)]

    as_of_T, weight_TN = accounts.as_of_T[inside_T], cut(accounts.weight_TN)
    return_T = accounts.return_T[inside_T] if whole else cut(accounts.made_TN).sum(axis=1)
    money = accounts.money_T[inside_T] if whole else cut(accounts.money_TN)
    paid = {line: float(cut(share_TN).sum()) for line, share_TN in accounts.paid_TN.items()}
    paid |= {line: float(share_T[inside_T].sum()) if whole else 0.0 for line, share_T in accounts.paid_T.items()}
    track = Track(
        as_of_T=np.append(as_of_T[:1], as_of_T),
        equity_T=np.concatenate([[1.0], 1.0 + return_T]).cumprod(),
        capital=1.0,
        row_return_T=np.append(0.0, return_T),
        turnover_T=cut(accounts.turnover_TN).sum(axis=1),
        gross_T=np.abs(weight_TN).sum(axis=1),
        net_T=weight_TN.sum(axis=1),
        paid=paid,
        received={line: float(cut(share_TN).sum()) for line, share_TN in accounts.received_TN.items()},
        trades=int(cut(accounts.traded_TN).sum()),
        margin_calls=int(accounts.called_T[inside_T].sum()),
        ruined=bool(accounts.ruined_T[inside_T].any()),
        grid=accounts.grid,
    )
    line = {"assets": int(inside_N.sum()), "net_contribution": float(money.sum()), **metrics_of_track(track)}
    if benchmark is None:
        return line
    benchmark_T = benchmark.return_T[1:][inside_T]
    benchmark_P = period_returns(as_of_T, benchmark_T, accounts.grid)[1]
    own = {
        "benchmark_return": float(np.prod(1 + benchmark_T) - 1),
        "benchmark_sharpe": sharpe(benchmark_P, track.periods_per_year),
    }
    beside = benchmark_relative(track.period_return_P, benchmark_P, periods_per_day=periods_per_day(accounts.grid))
    return {**line, **own, **asdict(beside)}


def regime_names(regime_windows: pd.DataFrame) -> list[str]:
    """The regime of each window in words: its ``name``, or its number where it has none."""
    if "name" in regime_windows:
        return [str(name) for name in regime_windows["name"]]
    return [f"regime {regime}" for regime in regime_windows["regime"]]


def regime_of_rows(as_of_T: NDArray[np.datetime64], regime_windows: pd.DataFrame) -> NDArray[np.object_]:
    """(T,) regime in force at each row: that of the newest window confirmed on the row's day or before; None before the first."""
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    windows = regime_windows.assign(
        confirmed=pd.to_datetime(regime_windows["confirmed"]), regime=regime_names(regime_windows)
    ).sort_values("confirmed")
    confirmed = windows["confirmed"].to_numpy("datetime64[D]")
    regime = np.array([None, *windows["regime"]], dtype=object)
    return regime[np.searchsorted(confirmed, day_T, side="right")]


def by_month(simulation: Simulation) -> pd.Series:
    """Net simple return of each calendar month (index 'YYYY-MM'); the first and the last may be parts."""
    day, day_return = daily_returns(simulation)
    month = day.astype("datetime64[M]").astype(str)
    return pd.Series(day_return, index=month).groupby(level=0).apply(lambda returns: float(np.prod(1 + returns) - 1))


def worst_days(simulation: Simulation, symbols: tuple[str, ...], count: int = 5) -> pd.DataFrame:
    """Grain: day, the worst first: net return, and the three positions that moved it most (average weight, share of capital)."""
    day_T = (simulation.as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    day, day_return = daily_returns(simulation)
    weight_TN = simulation.weight_TN
    rows = []
    for place in np.argsort(day_return, kind="stable")[:count]:
        inside_T = day_T == day[place]
        pnl_N = simulation.pnl_TN[inside_T].sum(axis=0)
        weight_N = weight_TN[inside_T].mean(axis=0)
        before = simulation.equity_T[max(int(np.argmax(inside_T)) - 1, 0)]
        largest = [asset for asset in np.argsort(-np.abs(pnl_N), kind="stable")[:3] if pnl_N[asset] != 0 and before > 0]
        moved = [f"{symbols[asset]} {weight_N[asset]:+.0%} made {pnl_N[asset] / before:+.2%}" for asset in largest]
        rows.append({"day": str(day[place]), "net_return": float(day_return[place]), "moved_by": ", ".join(moved)})
    return pd.DataFrame(rows, columns=["day", "net_return", "moved_by"])
