"""Simulate target weights, self-financing, by the algebra of segments.

At an execution V+ = V - costs, costs on |w V+ - held| (see self_financing.py); between executions units are constant (see
segments.py).

Order within a row: carrying costs and dividends on what was held into the row, then trades at the row's price.
The reference loop in reference.py does the same one row at a time; both agree to 1e-12.

Axes: V variants, K executions, T rows, N assets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.market import Market
from crossattn_core.backtest.segments import equity_by_row, solve
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.portfolio.target_weights import Targets

__all__ = [
    "CALL_CUTS_TO",
    "CALL_TOLERANCE",
    "RUIN_SHARE",
    "Schedule",
    "called_weights",
    "check_capital",
    "first_margin_call",
    "schedule_of",
    "simulate",
    "simulate_all",
    "simulate_many",
    "with_settlements",
]


_PAST_RUIN: Any = {"divide": "ignore", "invalid": "ignore", "over": "ignore"}
"""Past ruin the algebra runs on into infinities; they are cut away at the end."""


CALL_CUTS_TO = 0.9
"""A margin call cuts positions to this share of the limit, so that the next small move does not call again."""
CALL_TOLERANCE = 1e-9
"""Relative excess over the limit that is rounding, not leverage."""
RUIN_SHARE = 1e-12
"""Share of its peak at which equity is a residue of rounding, not money: an account that lost everything is ruined."""
_BATCH_VARIANTS = 16
"""Variants solved together: few enough that their weights stay in cache."""


@dataclass(frozen=True)
class Schedule:
    """Decisions matched to the market's rows. ``start`` is the first decision's row; others count from it."""

    start: int
    decided_K: NDArray[np.int64]
    fill_K: NDArray[np.int64]
    target_KN: NDArray[np.float64]


def schedule_of(market: Market, targets: Targets, execution_lag: int) -> Schedule:
    """Match ``targets`` to ``market``; a decision whose fill lies past the newest row is left out.

    Raises:
        BacktestError: no decisions, other assets, a decision on no row, or a lag that is no row at least.
    """
    if tuple(targets.asset_ids) != tuple(market.asset_ids):
        raise BacktestError(
            f"{targets.strategy}: weights are for {', '.join(targets.asset_ids)}; the market holds {', '.join(market.asset_ids)}"
        )
    if isinstance(execution_lag, bool) or not isinstance(execution_lag, Integral):
        raise BacktestError(f"execution_lag is {execution_lag!r}; it is a whole number of rows, 1 or more")
    if execution_lag < 1:
        raise BacktestError(
            f"execution_lag is {execution_lag}; a decision fills at least 1 row later, or it would trade on its own price"
        )
    if not market.asset_ids:
        raise BacktestError(f"{targets.strategy}: the market holds no asset; there is nothing to simulate")
    if not len(targets.as_of_D):
        raise BacktestError(f"{targets.strategy}: no decisions to simulate; check decision_hour and the range of forecasts")
    rows_D = targets.rows(market.as_of_T)
    start = int(rows_D[0])
    kept_D = rows_D + execution_lag < len(market.as_of_T)
    decided_K = rows_D[kept_D] - start
    return Schedule(start, decided_K, decided_K + execution_lag, targets.target_DN[kept_D])


def check_capital(capital: float) -> None:
    """Raise BacktestError unless there is some money, and not without end."""
    if isinstance(capital, bool) or not isinstance(capital, Real) or not 0 < capital < np.inf:
        raise BacktestError(f"capital is {capital!r}; it is the equity to begin with, a finite amount of quote currency above 0")


def with_settlements(schedule: Schedule, market: Market) -> Schedule:
    """The schedule with every delisting: at its row the asset's target is 0, whatever else was decided.

    A settlement of something held, on a row without a fill, becomes an execution of its own, decided at that row, that leaves
    the rest alone.
    """
    if market.delisted_TN is None:
        return schedule
    gone_TN = market.delisted_TN[schedule.start :]
    fill_K, decided_K, target_KN = schedule.fill_K, schedule.decided_K, schedule.target_KN.copy()
    target_KN[gone_TN[fill_K]] = 0.0
    for row, asset in np.argwhere(gone_TN).tolist():
        place = int(np.searchsorted(fill_K, row))
        if place < len(fill_K) and fill_K[place] == row:
            target_KN[place, asset] = 0.0
            continue
        filled_K = np.isfinite(target_KN[:place, asset]) & market.fillable_TN[schedule.start + fill_K[:place], asset]
        newest = np.flatnonzero(filled_K)
        if len(newest) and target_KN[newest[-1], asset] != 0:
            alone_N = np.full(len(market.asset_ids), np.nan)
            alone_N[asset] = 0.0
            fill_K, decided_K = np.insert(fill_K, place, row), np.insert(decided_K, place, row)
            target_KN = np.insert(target_KN, place, alone_N, axis=0)
    return Schedule(schedule.start, decided_K, fill_K, target_KN)


def simulate(market: Market, targets: Targets, *, execution_lag: int, capital: float) -> Simulation:
    """Simulate one strategy from its first decision to the market's newest row.

    An asset is left alone at an execution when its target is NaN or it is not tradable at the fill row: its drifted
    position stays and the rest is solved around it. A delisted asset is settled at its row (see delisting.py). Ruin: at the
    first row where equity is not positive (``RUIN_SHARE`` of its peak is rounding), positions are written off, equity is 0 and
    stays there. Margin call: at the end of a row where gross exposure exceeds ``market.margin_leverage``, every position is cut
    in proportion, filled a row later, and keeps its units where it cannot trade.

    Args:
        market: prices and costs (see ``market_of``).
        targets: what to hold, by decision.
        execution_lag: rows from decision to fill, >= 1.
        capital: equity at the first decision, quote currency.

    Raises:
        BacktestError: targets that do not fit the market, no capital, or costs that exceed equity.
    """
    check_capital(capital)
    schedule = with_settlements(schedule_of(market, targets, execution_lag), market)
    done = _run(market, targets, schedule, execution_lag, capital, ())
    calls: list[int] = []
    while (call := first_margin_call(done, calls[-1] if calls else -1)) is not None:
        calls.append(call)
        schedule = _with_call(schedule, done, call)
        done = _run(market, targets, schedule, execution_lag, capital, tuple(calls))
    return done


def first_margin_call(done: Simulation, after: int) -> int | None:
    """The first row past ``after`` at whose end gross exposure exceeds the margin and something held can trade a row later."""
    limit = done.market.margin_leverage
    if limit <= 0:
        return None
    fillable_TN = done.market.fillable_TN[done.start :]
    over_T = done.gross_exposure_T[:-1] > limit * (1 + CALL_TOLERANCE)
    over_T &= ((done.units_TN[:-1] != 0) & fillable_TN[1:]).any(axis=1)
    over_T[: after + 1] = False
    return int(np.argmax(over_T)) if over_T.any() else None


def called_weights(weight_N: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """(N,) what a margin call leaves: the same positions, scaled to ``CALL_CUTS_TO`` of the limit; NaN where nothing is held."""
    return np.where(weight_N != 0, weight_N * (CALL_CUTS_TO * limit / np.abs(weight_N).sum()), np.nan)


def _with_call(schedule: Schedule, done: Simulation, call: int) -> Schedule:
    """The schedule with the margin call of row ``call`` filled a row later; a decision that fills there goes first."""
    weight_N = called_weights(done.weight_TN[call], done.market.margin_leverage)
    place = int(np.searchsorted(schedule.fill_K, call + 1))
    target_KN = schedule.target_KN.copy()
    if place < len(schedule.fill_K) and schedule.fill_K[place] == call + 1:
        target_KN[place] = np.where(np.isnan(target_KN[place]), weight_N, target_KN[place])
        return Schedule(schedule.start, schedule.decided_K, schedule.fill_K, target_KN)
    return Schedule(
        schedule.start,
        np.insert(schedule.decided_K, place, call),
        np.insert(schedule.fill_K, place, call + 1),
        np.insert(target_KN, place, weight_N, axis=0),
    )


def _run(
    market: Market, targets: Targets, schedule: Schedule, execution_lag: int, capital: float, calls: tuple[int, ...]
) -> Simulation:
    with np.errstate(**_PAST_RUIN):
        path = solve(market, schedule.start, schedule.fill_K, schedule.target_KN[None], capital)
        equity_VT, after_VK = equity_by_row(market, schedule.start, schedule.fill_K, path, capital)
        equity_T, after_K = equity_VT[0], after_VK[0]
        units_KN = path.weight_VKN[0] * after_K[:, None] / market.price_TN[schedule.start + schedule.fill_K]
        trade_KN = path.trade_VKN(after_VK)[0]
    ruined_at = _cut_at_ruin(equity_T)
    if ruined_at is not None:
        gone_K = schedule.fill_K >= ruined_at
        units_KN[gone_K], trade_KN[gone_K] = 0.0, 0.0
    return Simulation(
        targets=targets,
        execution_lag=execution_lag,
        margin_calls=calls,
        market=market,
        start=schedule.start,
        capital=capital,
        equity_T=equity_T,
        fill_K=schedule.fill_K,
        decided_K=schedule.decided_K,
        units_KN=units_KN,
        trade_KN=trade_KN,
        target_KN=schedule.target_KN,
        ruined_at=ruined_at,
    )


def simulate_all(market: Market, targets: Mapping[str, Targets], experiment: Experiment) -> dict[str, Simulation]:
    """Simulate every strategy on the same market, at the experiment's execution lag and capital; errors as ``simulate``."""
    lag, capital = experiment.labels.execution_lag, experiment.backtest.capital
    return {strategy: simulate(market, decided, execution_lag=lag, capital=capital) for strategy, decided in targets.items()}


def simulate_many(market: Market, variants: Sequence[Targets], *, execution_lag: int, capital: float) -> NDArray[np.float64]:
    """(V, T) equity of many variants that share their decisions, in one batch; equal to ``simulate`` on each.

    Raises:
        BacktestError: no variants, or variants that decide at different instants.
    """
    check_capital(capital)
    if not variants:
        raise BacktestError("no variants to simulate")
    if market.margin_leverage > 0:
        raise BacktestError("margin calls depend on each variant's own path; simulate the variants one by one")
    for variant in variants:
        if not np.array_equal(variant.as_of_D, variants[0].as_of_D) or variant.asset_ids != variants[0].asset_ids:
            raise BacktestError(f"{variant.strategy} decides at other instants or on other assets; simulate it on its own")
    schedules = [with_settlements(schedule_of(market, variant, execution_lag), market) for variant in variants]
    start = schedules[0].start
    equity_VT = np.empty((len(variants), len(market.as_of_T) - start))
    # Settlements may give variants executions of their own: those that share them go together.
    together: dict[bytes, list[int]] = {}
    for place, schedule in enumerate(schedules):
        together.setdefault(schedule.fill_K.tobytes(), []).append(place)
    for places in together.values():
        fill_K = schedules[places[0]].fill_K
        for begin in range(0, len(places), _BATCH_VARIANTS):
            batch = places[begin : begin + _BATCH_VARIANTS]
            with np.errstate(**_PAST_RUIN):
                path = solve(market, start, fill_K, np.stack([schedules[place].target_KN for place in batch]), capital)
                equity_VT[batch] = equity_by_row(market, start, fill_K, path, capital)[0]
    for equity_T in equity_VT:
        _cut_at_ruin(equity_T)
    return equity_VT


def _cut_at_ruin(equity_T: NDArray[np.float64]) -> int | None:
    """Zero ``equity_T`` in place from the first row at which nothing is left of its peak; that row, or None."""
    alive_T = equity_T > RUIN_SHARE * np.maximum.accumulate(equity_T)
    if alive_T.all():
        return None
    ruined_at = int(np.argmin(alive_T))
    equity_T[ruined_at:] = 0.0
    return ruined_at
