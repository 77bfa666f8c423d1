"""What metrics are taken of: the account of a simulation, or of a part of it. Axis T: rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.performance import Drawdown, drawdowns, period_returns, periods_per_day, returns_by_day
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.grid import HOURLY, Grid

__all__ = ["Track", "track_of"]


@dataclass(frozen=True)
class Track:
    """One account by row; the first row is where the money is counted from and has no return."""

    as_of_T: NDArray[np.datetime64]
    equity_T: NDArray[np.float64]
    """Equity after each row, in units of ``capital``'s money."""
    capital: float
    row_return_T: NDArray[np.float64]
    """Net simple return of each row; 0 at the first."""
    turnover_T: NDArray[np.float64]
    """Sum of |trade| / equity."""
    gross_T: NDArray[np.float64]
    net_T: NDArray[np.float64]
    """Exposures, shares of equity."""
    paid: Mapping[str, float]
    """Each cost line of the account -> share of capital; negative where received."""
    received: Mapping[str, float]
    """Each line that is no cost (dividends) -> share of capital; negative where a short paid it."""
    trades: int
    margin_calls: int
    ruined: bool
    grid: Grid = HOURLY

    @property
    def rows(self) -> int:
        """How many rows have a return."""
        return len(self.row_return_T) - 1

    @property
    def return_T(self) -> NDArray[np.float64]:
        """(rows,) net simple returns."""
        return self.row_return_T[1:]

    @property
    def days(self) -> float:
        """Length of the series."""
        return self.rows / self.grid.bars_per_day

    @cached_property
    def period_return_P(self) -> NDArray[np.float64]:
        """(P,) net simple returns that ratios are taken of (``performance.period_returns``): of rows, under an hour of days."""
        return period_returns(self.as_of_T[1:], self.return_T, self.grid)[1]

    @property
    def periods_per_year(self) -> int:
        """What ``period_return_P`` is annualised by."""
        return 365 * periods_per_day(self.grid)

    @cached_property
    def day_return_D(self) -> NDArray[np.float64]:
        """(D,) net simple return of each day; the first and the last may be parts."""
        return returns_by_day(self.as_of_T, self.equity_T, self.capital)[1]

    @cached_property
    def deepest_fall(self) -> Drawdown | None:
        """The deepest drawdown; None where equity never fell."""
        falls = drawdowns(self.equity_T, deepest=1)
        return falls[0] if falls else None


def track_of(simulation: Simulation) -> Track:
    """The whole of a simulation."""
    capital = simulation.capital
    return Track(
        as_of_T=simulation.as_of_T,
        equity_T=simulation.equity_T,
        capital=capital,
        row_return_T=simulation.return_T,
        turnover_T=simulation.turnover_T,
        gross_T=simulation.gross_exposure_T,
        net_T=simulation.net_exposure_T,
        paid={line: float(paid_T.sum()) / capital for line, paid_T in simulation.costs.items()},
        received={line: float(received_TN.sum()) / capital for line, received_TN in simulation.asset_income.items()},
        trades=int((simulation.trade_KN != 0).sum()),
        margin_calls=len(simulation.margin_calls),
        ruined=simulation.ruined_at is not None,
        grid=simulation.market.grid,
    )
