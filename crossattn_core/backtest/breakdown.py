"""Every metric of every part of a simulation: its years, months and regimes; its venues and assets.

A part of the time is the strategy's own hours there. A part of the universe is what an account would have earned that held
those assets' positions alone, in the same shares of equity: an hour's return is what they made over the equity before the hour.
Costs, dividends and turnover are shares of the equity before each row, added up.

Axes: T rows after the first decision's, N assets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.comparison import beside
from crossattn_core.backtest.metrics import Track, metrics_of_track, sharpe
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.backtest.slices import regime_of_rows

__all__ = ["metrics_by_part"]


def metrics_by_part(
    simulation: Simulation,
    benchmark: Simulation | None,
    *,
    regime_windows: pd.DataFrame | None,
    groups: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """Grain: kind x part, in the order of time or of the universe.

    Columns: ``kind`` (year, month, regime, or a key of ``groups``), ``part``, ``assets`` (how many), ``net_contribution``
    (money made in the part over capital; adds up over a kind to the net return, idle cash's interest apart), every field of
    ``Metrics``, and with a benchmark its ``benchmark_return`` and ``benchmark_sharpe`` over the same rows and every field of
    ``Beside``.

    Args:
        simulation: what is cut.
        benchmark: over the same rows.
        regime_windows: as ``regime_windows`` lists them; without, no regimes.
        groups: kind -> the part that each asset belongs to.

    Before the second row there is no return, and no part.
    """
    accounts = _Accounts.of(simulation)
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


@dataclass(frozen=True)
class _Accounts:
    """The books of a simulation by row and asset, over the equity before each row; rows after the first."""

    as_of_T: NDArray[np.datetime64]
    return_T: NDArray[np.float64]
    made_TN: NDArray[np.float64]
    weight_TN: NDArray[np.float64]
    turnover_TN: NDArray[np.float64]
    paid_TN: dict[str, NDArray[np.float64]]
    interest_T: NDArray[np.float64]
    """A cost: negative where earned."""
    dividend_TN: NDArray[np.float64]
    traded_TN: NDArray[np.bool_]
    money_TN: NDArray[np.float64]
    """Money made over the starting capital."""
    money_T: NDArray[np.float64]
    called_T: NDArray[np.bool_]
    ruined_T: NDArray[np.bool_]

    @classmethod
    def of(cls, simulation: Simulation) -> "_Accounts":
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
        return cls(
            as_of_T=simulation.as_of_T[1:],
            return_T=simulation.return_T[1:],
            made_TN=shares(simulation.pnl_TN),
            weight_TN=simulation.weight_TN[1:],
            turnover_TN=turnover_TN[1:],
            paid_TN={kind: shares(cost_TN) for kind, cost_TN in simulation.asset_costs.items()},
            interest_T=shares(simulation.costs["interest"]),
            dividend_TN=shares(simulation.dividend_TN),
            traded_TN=traded_TN[1:],
            money_TN=simulation.pnl_TN[1:] / simulation.capital,
            money_T=np.diff(simulation.equity_T) / simulation.capital,
            called_T=called_T[1:],
            ruined_T=ruined_T[1:],
        )


def _line(
    accounts: _Accounts, benchmark: Simulation | None, inside_T: NDArray[np.bool_], inside_N: NDArray[np.bool_], *, whole: bool
) -> dict[str, float | int | bool]:
    """One part; ``whole``: all assets and cash, so that the return is the strategy's own."""

    def cut(value_TN: NDArray[Any]) -> NDArray[Any]:
        return value_TN[np.ix_(inside_T, inside_N)]

    as_of_T, weight_TN = accounts.as_of_T[inside_T], cut(accounts.weight_TN)
    return_T = accounts.return_T[inside_T] if whole else cut(accounts.made_TN).sum(axis=1)
    money = accounts.money_T[inside_T] if whole else cut(accounts.money_TN)
    paid = {kind: float(cut(share_TN).sum()) for kind, share_TN in accounts.paid_TN.items()}
    track = Track(
        as_of_T=np.append(as_of_T[:1], as_of_T),
        equity_T=np.concatenate([[1.0], 1.0 + return_T]).cumprod(),
        capital=1.0,
        return_T=np.append(0.0, return_T),
        turnover_T=cut(accounts.turnover_TN).sum(axis=1),
        gross_T=np.abs(weight_TN).sum(axis=1),
        net_T=weight_TN.sum(axis=1),
        paid={**paid, "interest": float(accounts.interest_T[inside_T].sum()) if whole else 0.0},
        dividends=float(cut(accounts.dividend_TN).sum()),
        trades=int(cut(accounts.traded_TN).sum()),
        margin_calls=int(accounts.called_T[inside_T].sum()),
        ruined=bool(accounts.ruined_T[inside_T].any()),
    )
    line = {"assets": int(inside_N.sum()), "net_contribution": float(money.sum()), **metrics_of_track(track).as_dict()}
    if benchmark is None:
        return line
    beside_T = benchmark.return_T[1:][inside_T]
    ours = {"benchmark_return": float(np.prod(1 + beside_T) - 1), "benchmark_sharpe": sharpe(beside_T)}
    return {**line, **ours, **asdict(beside(return_T, beside_T))}
