"""Simulate target weights, self-financing, by the algebra of segments.

Between executions units are constant, so equity is linear in prices: a whole segment is one product. At an execution
V+ = V - costs, costs on |w V+ - held| (see costs.py). Where every asset of an execution trades, the weights after it are the
targets, whatever came before; only executions that leave an asset alone depend on the one before them. They are solved
in rounds: first all that depend on nothing, then all that depend on those, and so on.

Order within a row: funding settled and borrow accrued on what was held into the row, then trades at the row's price.
The reference loop in reference.py does the same one row at a time; both agree to 1e-12.

Axes: V variants, K executions, T rows, N assets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.costs import equity_share_after_impact, equity_share_after_trade
from crossattn_core.backtest.market import Market
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.targets import Targets

__all__ = [
    "CALL_CUTS_TO",
    "CALL_TOLERANCE",
    "Schedule",
    "called_weights",
    "first_margin_call",
    "schedule_of",
    "simulate",
    "simulate_many",
]


_PAST_RUIN: Any = {"divide": "ignore", "invalid": "ignore", "over": "ignore"}
"""Past ruin the algebra runs on into infinities; they are cut away at the end."""
_BLOCK_ROWS = 4096
"""Rows summed at a time: enough to amortise the call, few enough to stay in cache."""


CALL_CUTS_TO = 0.9
"""A margin call cuts positions to this share of the limit, so that the next small move does not call again."""
CALL_TOLERANCE = 1e-9
"""Relative excess over the limit that is rounding, not leverage."""
_BATCH_VARIANTS = 32
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
        BacktestError: no decisions, other assets, or a decision on no row.
    """
    if targets.asset_ids != market.asset_ids:
        raise BacktestError(
            f"{targets.strategy}: weights are for {', '.join(targets.asset_ids)}; the market holds {', '.join(market.asset_ids)}"
        )
    if execution_lag < 1:
        raise BacktestError(
            f"execution_lag is {execution_lag}; a decision fills at least 1 row later, or it would trade on its own price"
        )
    if not len(targets.as_of_D):
        raise BacktestError(f"{targets.strategy}: no decisions to simulate; check decision_hour and the range of forecasts")
    rows_D = targets.rows(market.as_of_T)
    start = int(rows_D[0])
    kept_D = rows_D + execution_lag < len(market.as_of_T)
    decided_K = rows_D[kept_D] - start
    return Schedule(start, decided_K, decided_K + execution_lag, targets.target_DN[kept_D])


def simulate(market: Market, targets: Targets, *, execution_lag: int, capital: float) -> Simulation:
    """Simulate one strategy from its first decision to the market's newest row.

    An asset is left alone at an execution when its target is NaN or it is not tradable at the fill row: its drifted
    position stays and the rest is solved around it. Ruin: at the first row where equity is not positive, positions are
    written off, equity is 0 and stays there. Margin call: at the end of a row where gross exposure exceeds
    ``market.margin_leverage``, every position is cut in proportion, filled a row later, and keeps its units where it cannot
    trade.

    Args:
        market: prices and costs (see ``market_of``).
        targets: what to hold, by decision.
        execution_lag: rows from decision to fill, >= 1.
        capital: equity at the first decision, quote currency.

    Raises:
        BacktestError: targets that do not fit the market, or costs that exceed equity.
    """
    schedule = schedule_of(market, targets, execution_lag)
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
    tradable_TN = done.market.tradable_TN[done.start :]
    over_T = (done.gross_exposure_T[:-1] > limit * (1 + CALL_TOLERANCE)) & ((done.units_TN[:-1] != 0) & tradable_TN[1:]).any(
        axis=1
    )
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
        path = _solve(market, schedule.start, schedule.fill_K, schedule.target_KN[None], capital)
        equity_VT, after_VK = _equity(market, schedule.start, schedule.fill_K, path, capital)
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


def simulate_many(market: Market, variants: Sequence[Targets], *, execution_lag: int, capital: float) -> NDArray[np.float64]:
    """(V, T) equity of many variants that share their decisions, in one batch; equal to ``simulate`` on each.

    Raises:
        BacktestError: no variants, or variants that decide at different instants.
    """
    if not variants:
        raise BacktestError("no variants to simulate")
    if market.margin_leverage > 0:
        raise BacktestError("margin calls depend on each variant's own path; simulate the variants one by one")
    schedule = schedule_of(market, variants[0], execution_lag)
    for variant in variants:
        if not np.array_equal(variant.as_of_D, variants[0].as_of_D) or variant.asset_ids != variants[0].asset_ids:
            raise BacktestError(f"{variant.strategy} decides at other instants or on other assets; simulate it on its own")
    equity_VT = np.empty((len(variants), len(market.as_of_T) - schedule.start))
    for begin in range(0, len(variants), _BATCH_VARIANTS):
        batch = variants[begin : begin + _BATCH_VARIANTS]
        target_VKN = np.stack([variant.target_DN[: len(schedule.fill_K)] for variant in batch])
        with np.errstate(**_PAST_RUIN):
            path = _solve(market, schedule.start, schedule.fill_K, target_VKN, capital)
            equity_VT[begin : begin + len(batch)], _ = _equity(market, schedule.start, schedule.fill_K, path, capital)
    for equity_T in equity_VT:
        _cut_at_ruin(equity_T)
    return equity_VT


@dataclass(frozen=True)
class _Path:
    """Executions, relative to equity: nothing here knows how much money there is."""

    active_VKN: NDArray[np.bool_]
    weight_VKN: NDArray[np.float64]
    """Shares of V+ after the trade."""
    held_VKN: NDArray[np.float64]
    """Shares of V before the trade."""
    share_VK: NDArray[np.float64]
    """V+ / V."""
    growth_VK: NDArray[np.float64]
    """V at this execution / V+ at the one before; 1 at the first."""

    def trade_VKN(self, after_VK: NDArray[np.float64]) -> NDArray[np.float64]:
        """Money bought (negative: sold), given equity after each execution."""
        move_VKN = self.weight_VKN * self.share_VK[..., None] - self.held_VKN
        return np.where(self.active_VKN, move_VKN * (after_VK / self.share_VK)[..., None], 0.0)


def _solve(market: Market, start: int, fill_K: NDArray[np.int64], target_VKN: NDArray[np.float64], capital: float) -> _Path:
    variants, executions, assets = target_VKN.shape
    row_K = start + fill_K
    price_KN = market.price_TN[row_K]
    tradable_KN = market.tradable_TN[row_K]
    active_VKN = np.isfinite(target_VKN) & tradable_KN
    weight_VKN = np.where(active_VKN, target_VKN, 0.0)
    held_VKN = np.zeros((variants, executions, assets))
    share_VK, growth_VK = np.ones((variants, executions)), np.ones((variants, executions))
    change_KN, funding_KN, borrow_KN = np.zeros((3, executions, assets))
    if executions > 1:
        change_KN[1:] = price_KN[1:] / price_KN[:-1] - 1.0
        if market.funding_paid_TN is not None:
            funding_KN[1:] = np.diff(market.funding_paid_TN[row_K], axis=0) / price_KN[:-1]
        if market.borrow_paid_TN is not None:
            borrow_KN[1:] = np.diff(market.borrow_paid_TN[row_K], axis=0) / price_KN[:-1]
    waited_K = np.diff(fill_K, prepend=fill_K[:1])
    money_V = np.full(variants, capital)
    carries = market.funding_paid_TN is not None or market.borrow_paid_TN is not None

    def settle(chosen_K: NDArray[np.int64]) -> None:
        """Solve the executions ``chosen_K``, whose predecessors are solved."""
        everything = len(chosen_K) == executions
        chosen = slice(None) if everything else chosen_K  # views where nothing is picked out
        if everything:
            before = np.zeros_like(weight_VKN)
            before[:, 1:] = weight_VKN[:, :-1]
        else:
            before = weight_VKN[:, chosen_K - 1]
            before[:, chosen_K == 0] = 0.0
        # Sums run over the last axis alone (never through BLAS), so that later rows cannot touch a bit of earlier ones.
        gain = np.einsum("vkn,kn->vk", before, change_KN[chosen])
        if carries:
            gain -= np.einsum("vkn,kn->vk", before, funding_KN[chosen])
            gain -= np.einsum("vkn,kn->vk", np.maximum(-before, 0.0), borrow_KN[chosen])
        if market.interest:
            gain += _idle(before) * market.interest * waited_K[chosen]
        growth = 1.0 + gain
        before *= (1.0 + change_KN[chosen]) / growth[..., None]
        active = active_VKN[:, chosen]
        whole = bool(active.all())
        cost = market.trade_cost_N if whole else np.where(active, market.trade_cost_N, 0.0)
        if market.impact_TN is None:
            share = equity_share_after_trade(weight_VKN[:, chosen], before, cost)
        else:
            nonlocal money_V
            money_V = money_V * growth[:, 0]
            impact = np.where(active, market.impact_TN[row_K[chosen]], 0.0) * np.sqrt(np.maximum(money_V, 0.0))[:, None, None]
            share = equity_share_after_impact(weight_VKN[:, chosen], before, cost, impact)
            money_V = money_V * share[:, 0]
        if not whole:
            weight_VKN[:, chosen] = np.where(active, weight_VKN[:, chosen], before / share[..., None])
        held_VKN[:, chosen], share_VK[:, chosen], growth_VK[:, chosen] = before, share, growth

    # An execution depends on the one before it where it leaves an asset alone that may have been held by then.
    ever_before_VKN = np.zeros_like(active_VKN)
    ever_before_VKN[:, 1:] = np.logical_or.accumulate(active_VKN, axis=1)[:, :-1]
    depends_K = (~active_VKN & ever_before_VKN).any(axis=(0, 2))
    round_K = np.arange(executions) - np.maximum.accumulate(np.where(depends_K, 0, np.arange(executions)))
    if market.impact_TN is not None:
        # Impact knows how much money there is: every execution depends on all before it.
        for execution in range(executions):
            settle(np.array([execution]))
    else:
        for number in range(1, int(round_K.max(initial=0)) + 1):
            settle(np.flatnonzero(round_K == number))
        # Weights after a free execution are its targets; only its costs had to wait for what came before.
        settle(np.flatnonzero(round_K == 0))
    return _Path(active_VKN, weight_VKN, held_VKN, share_VK, growth_VK)


def _equity(
    market: Market, start: int, fill_K: NDArray[np.int64], path: _Path, capital: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(V, T) equity by row and (V, K) equity after each execution."""
    variants, executions = path.share_VK.shape
    rows = len(market.as_of_T) - start
    after_VK: NDArray[np.float64] = np.multiply(np.cumprod(path.growth_VK * path.share_VK, axis=1), capital)
    equity_VT = np.full((variants, rows), float(capital))
    if not executions:
        return equity_VT, after_VK
    long_TN, short_TN = market.long_worth_TN[start:], market.short_worth_TN
    units_VKN = path.weight_VKN * after_VK[..., None] / market.price_TN[start + fill_K]
    # A short is worth less by its borrow: (units >= 0) * long worth + (units < 0) * short worth.
    legs = [(long_TN, units_VKN)]
    if short_TN is not None:
        legs = [(long_TN, np.maximum(units_VKN, 0.0)), (short_TN[start:], np.minimum(units_VKN, 0.0))]
    gain_VT = np.zeros((variants, rows))
    for worth_TN, held_VKN in legs:
        gain_VT += _worth_since_fill(worth_TN, held_VKN, fill_K)
    if market.interest:
        since_T = np.arange(rows) - fill_K[np.maximum(np.searchsorted(fill_K, np.arange(rows), side="right") - 1, 0)]
        earned_VK = _idle(path.weight_VKN) * after_VK * market.interest
        length_K = np.diff(np.append(fill_K, rows))
        gain_VT[:, fill_K[0] :] += np.repeat(earned_VK, length_K, axis=1) * since_T[fill_K[0] :]
    first = int(fill_K[0])
    equity_VT[:, first:] = np.repeat(after_VK, np.diff(np.append(fill_K, rows)), axis=1) + gain_VT[:, first:]
    return equity_VT, after_VK


def _idle(weight_VKN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, K) share of equity that is not invested."""
    return np.maximum(1.0 - np.abs(weight_VKN).sum(axis=-1), 0.0)


def _worth_since_fill(
    worth_TN: NDArray[np.float64], held_VKN: NDArray[np.float64], fill_K: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(V, T) change of worth of the units held since their execution; 0 before the first."""
    variants, executions, _ = held_VKN.shape
    rows = len(worth_TN)
    gain_VT = np.zeros((variants, rows))
    length_K = np.diff(np.append(fill_K, rows))
    if variants == 1:
        at_fill_K = (held_VKN[0] * worth_TN[fill_K]).sum(axis=1)
        execution_T = np.repeat(np.arange(executions), length_K)
        first = int(fill_K[0])
        for block in range(first, rows, _BLOCK_ROWS):
            execution_B = execution_T[block - first : block - first + _BLOCK_ROWS]
            worth_B = (held_VKN[0, execution_B] * worth_TN[block : block + _BLOCK_ROWS]).sum(axis=1)
            gain_VT[0, block : block + _BLOCK_ROWS] = worth_B - at_fill_K[execution_B]
        return gain_VT
    for execution, (row, length) in enumerate(zip(fill_K.tolist(), length_K.tolist(), strict=True)):
        gain_VT[:, row : row + length] = held_VKN[:, execution] @ (worth_TN[row : row + length] - worth_TN[row]).T
    return gain_VT


def _cut_at_ruin(equity_T: NDArray[np.float64]) -> int | None:
    """Zero ``equity_T`` in place from the first row that is not positive; that row, or None."""
    alive_T = equity_T > 0
    if alive_T.all():
        return None
    ruined_at = int(np.argmin(alive_T))
    equity_T[ruined_at:] = 0.0
    return ruined_at
