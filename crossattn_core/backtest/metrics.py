"""Numbers that describe a net return series, each with its definition: of a whole simulation, or of a part of it.

Returns are simple and net of costs, one per row of the hourly grid, so that a year has 8,760 of them. A quantity that a
series cannot give (zero volatility, no loss, no trade) is NaN, never zero.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.market import HOURS_PER_YEAR
from crossattn_core.backtest.simulation import COST_KINDS, Simulation

__all__ = [
    "Drawdown",
    "Metrics",
    "Track",
    "daily_returns",
    "drawdowns",
    "metrics_of",
    "metrics_of_track",
    "sharpe",
    "sortino",
    "underwater",
]


def sharpe(return_T: NDArray[np.float64], periods: float = HOURS_PER_YEAR) -> float:
    """Mean / standard deviation (ddof 1) * sqrt(periods); the riskless rate is taken as zero. NaN without volatility."""
    deviation = float(np.std(return_T, ddof=1)) if len(return_T) > 1 else 0.0
    # Rounding leaves a constant series a deviation of ~1e-19: no volatility all the same.
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(return_T)) / deviation * float(np.sqrt(periods))


def sortino(return_T: NDArray[np.float64], periods: float = HOURS_PER_YEAR) -> float:
    """Mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods), the downside about zero over all observations (Sortino, 1994)."""
    downside = float(np.sqrt(np.mean(np.minimum(return_T, 0.0) ** 2))) if len(return_T) else 0.0
    return float(np.mean(return_T)) / downside * float(np.sqrt(periods)) if downside > 1e-14 else float("nan")


def underwater(equity_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) equity / its running maximum - 1; the starting capital counts as the first maximum."""
    return equity_T / np.maximum.accumulate(equity_T) - 1.0


@dataclass(frozen=True)
class Drawdown:
    """One fall from a peak. Rows: the peak, the trough, and the recovery (None while under water)."""

    depth: float
    peak: int
    trough: int
    recovered: int | None

    @property
    def hours(self) -> int | None:
        """Hours from peak to recovery; None while under water."""
        return None if self.recovered is None else self.recovered - self.peak


def drawdowns(equity_T: NDArray[np.float64], deepest: int = 5) -> list[Drawdown]:
    """The ``deepest`` falls that do not overlap, deepest first."""
    depth_T = underwater(equity_T)
    below_T = depth_T < 0
    edge = np.flatnonzero(np.diff(np.concatenate([[False], below_T, [False]]).astype(np.int8)))
    falls = []
    for begin, end in zip(edge[::2], edge[1::2], strict=True):
        trough = int(begin + np.argmin(depth_T[begin:end]))
        falls.append(Drawdown(float(depth_T[trough]), int(begin) - 1, trough, int(end) if end < len(equity_T) else None))
    return sorted(falls, key=lambda fall: fall.depth)[:deepest]


def daily_returns(simulation: Simulation) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Days and their simple net returns; day D holds the rows in (D 00:00, D+1 00:00]."""
    return _by_day(simulation.as_of_T, simulation.equity_T, simulation.capital)


def _by_day(
    as_of_T: NDArray[np.datetime64], equity_T: NDArray[np.float64], capital: float
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    day_T = (as_of_T - np.timedelta64(1, "us")).astype("datetime64[D]")
    last = np.flatnonzero(np.append(day_T[1:] != day_T[:-1], True))
    equity = np.concatenate([[capital], equity_T[last]])
    day_return = np.divide(equity[1:] - equity[:-1], equity[:-1], out=np.zeros(len(last)), where=equity[:-1] > 0)
    return day_T[last], day_return


@dataclass(frozen=True)
class Track:
    """What metrics are taken of. Axis T: rows; the first is where the money is counted from and has no return."""

    as_of_T: NDArray[np.datetime64]
    equity_T: NDArray[np.float64]
    """Equity after each row, in units of ``capital``'s money."""
    capital: float
    return_T: NDArray[np.float64]
    turnover_T: NDArray[np.float64]
    gross_T: NDArray[np.float64]
    net_T: NDArray[np.float64]
    """Exposures, shares of equity."""
    paid: Mapping[str, float]
    """Each of ``COST_KINDS`` -> share of capital."""
    dividends: float
    """Share of capital."""
    trades: int
    margin_calls: int
    ruined: bool


@dataclass(frozen=True)
class Metrics:
    """One strategy in numbers, net of costs. Shares are fractions; ``_per_year`` scales by the length of the series."""

    days: float
    net_return: float
    """Final equity / capital - 1."""
    gross_return: float
    """(Net profit + all costs paid) / capital: profit of the same positions had trading and holding been free; with dividends."""
    annual_return: float
    """(1 + net_return) ^ (8760 / rows) - 1; NaN for less than 30 days."""
    annual_volatility: float
    """Standard deviation of hourly returns * sqrt(8760)."""
    sharpe: float
    sortino: float
    calmar: float
    """annual_return / |max_drawdown|."""
    max_drawdown: float
    max_drawdown_hours: float
    """Peak to recovery of the deepest fall; NaN while not recovered."""
    value_at_risk: float
    """Daily loss that 5% of days exceed, empirical, as a positive share."""
    expected_shortfall: float
    """Mean daily loss of the days at or beyond ``value_at_risk``."""
    skew: float
    """Of daily returns, biased moment estimate."""
    kurtosis: float
    """Of daily returns, 3 for a normal law."""
    hit_rate: float
    """Share of days with a profit among days with any profit or loss."""
    profit_factor: float
    """Sum of daily gains / sum of daily losses."""
    tail_ratio: float
    """95th percentile of daily returns / |5th|."""
    turnover_per_day: float
    """Mean over days of sum |trade| / equity."""
    turnover_per_year: float
    average_gross_exposure: float
    average_net_exposure: float
    trades: int
    cost_share: float
    """All costs paid / capital."""
    fee_share: float
    spread_share: float
    slippage_share: float
    impact_share: float
    funding_share: float
    borrow_share: float
    delisting_share: float
    """Value written off with assets that were delisted."""
    interest_share: float
    """Interest earned, as a negative cost."""
    dividend_share: float
    """Dividends received less dividends paid on shorts, of capital; inside gross_return, not a cost."""
    margin_calls: int
    ruined: bool

    def as_dict(self) -> dict[str, float | int | bool]:
        """Names and values, in the order above."""
        return asdict(self)


def metrics_of(simulation: Simulation) -> Metrics:
    """Every metric of one simulation."""
    return metrics_of_track(
        Track(
            as_of_T=simulation.as_of_T,
            equity_T=simulation.equity_T,
            capital=simulation.capital,
            return_T=simulation.return_T,
            turnover_T=simulation.turnover_T,
            gross_T=simulation.gross_exposure_T,
            net_T=simulation.net_exposure_T,
            paid={kind: float(simulation.costs[kind].sum()) / simulation.capital for kind in COST_KINDS},
            dividends=float(simulation.dividend_TN.sum()) / simulation.capital,
            trades=int((simulation.trade_KN != 0).sum()),
            margin_calls=len(simulation.margin_calls),
            ruined=simulation.ruined_at is not None,
        )
    )


def metrics_of_track(track: Track) -> Metrics:
    """Every metric of one track."""
    return_T, paid = track.return_T[1:], track.paid
    rows = len(return_T)
    _, day_return = _by_day(track.as_of_T, track.equity_T, track.capital)
    net = track.equity_T[-1] / track.capital - 1.0
    annual = float("nan")
    if rows >= 30 * 24 and net >= -1.0:
        annual = float((1.0 + net) ** (HOURS_PER_YEAR / rows) - 1.0)
    falls = drawdowns(track.equity_T, deepest=1)
    depth = falls[0].depth if falls else 0.0
    tail = _tail(day_return)
    turnover = float(track.turnover_T.sum())
    return Metrics(
        days=rows / 24.0,
        net_return=float(net),
        gross_return=float(net) + sum(paid.values()),
        annual_return=annual,
        annual_volatility=float(np.std(return_T, ddof=1) * np.sqrt(HOURS_PER_YEAR)) if rows > 1 else float("nan"),
        sharpe=sharpe(return_T),
        sortino=sortino(return_T),
        calmar=_ratio(annual, -depth),
        max_drawdown=depth,
        max_drawdown_hours=float("nan") if not falls or falls[0].hours is None else float(falls[0].hours),
        value_at_risk=tail[0],
        expected_shortfall=tail[1],
        skew=_standardised_moment(day_return, 3),
        kurtosis=_standardised_moment(day_return, 4),
        hit_rate=_ratio(float((day_return > 0).sum()), float((day_return != 0).sum())),
        profit_factor=_ratio(float(day_return[day_return > 0].sum()), float(-day_return[day_return < 0].sum())),
        tail_ratio=_ratio(float(np.percentile(day_return, 95)), abs(float(np.percentile(day_return, 5)))),
        turnover_per_day=turnover / rows * 24 if rows else float("nan"),
        turnover_per_year=turnover / rows * HOURS_PER_YEAR if rows else float("nan"),
        average_gross_exposure=float(track.gross_T.mean()),
        average_net_exposure=float(track.net_T.mean()),
        trades=track.trades,
        cost_share=sum(paid.values()),
        fee_share=paid["fee"],
        spread_share=paid["spread"],
        slippage_share=paid["slippage"],
        impact_share=paid["impact"],
        funding_share=paid["funding"],
        borrow_share=paid["borrow"],
        delisting_share=paid["delisting"],
        interest_share=paid["interest"],
        dividend_share=track.dividends,
        margin_calls=track.margin_calls,
        ruined=track.ruined,
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 and np.isfinite(above) else float("nan")


def _tail(day_return: NDArray[np.float64], share: float = 0.05) -> tuple[float, float]:
    if len(day_return) < 20:
        return float("nan"), float("nan")
    edge = float(np.percentile(day_return, 100 * share))
    return -edge, -float(day_return[day_return <= edge].mean())


def _standardised_moment(day_return: NDArray[np.float64], power: int) -> float:
    deviation = float(np.std(day_return)) if len(day_return) else 0.0
    if deviation <= 1e-14:
        return float("nan")
    return float(np.mean(((day_return - day_return.mean()) / deviation) ** power))
