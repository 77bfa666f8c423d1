"""The algebra of segments: between executions units are constant, so equity is linear in prices.

Where every asset of an execution trades, the weights after it are the targets, whatever came before; only executions that
leave an asset alone depend on the one before them. They are solved in rounds: first all that depend on nothing, then all that
depend on those, and so on. With impact, which knows how much money there is, every execution depends on all before it.

No sum goes through BLAS where a single strategy is simulated: later rows cannot touch a bit of earlier ones.

Axes: V variants, K executions, T rows, N assets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossattn_core.backtest.market import Market
from crossattn_core.backtest.self_financing import equity_share_after_impact, equity_share_after_trade

__all__ = ["Executions", "equity_by_row", "solve"]

_BLOCK_ROWS = 4096
"""Rows summed at a time: enough to amortise the call, few enough to stay in cache."""


@dataclass(frozen=True)
class Executions:
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


def solve(market: Market, start: int, fill_K: NDArray[np.int64], target_VKN: NDArray[np.float64], capital: float) -> Executions:
    """Weights before and after every execution, and what each left of equity."""
    variants, executions, assets = target_VKN.shape
    row_K = start + fill_K
    price_KN = market.price_TN[row_K]
    active_VKN = np.isfinite(target_VKN) & market.fillable_TN[row_K]
    everything_active = bool(active_VKN.all())
    weight_VKN = target_VKN if everything_active else np.where(active_VKN, target_VKN, 0.0)
    held_VKN = np.empty((variants, executions, assets))
    held_VKN[:, :1] = 0.0  # nothing is held before the first; every other one is written below
    share_VK, growth_VK = np.ones((variants, executions)), np.ones((variants, executions))
    change_KN, carry_KN, short_KN = np.zeros((3, executions, assets))
    if executions > 1:
        change_KN[1:] = price_KN[1:] / price_KN[:-1] - 1.0
        if market.carry_paid_TN is not None:
            carry_KN[1:] = np.diff(market.carry_paid_TN[row_K], axis=0) / price_KN[:-1]
        if market.short_paid_TN is not None:
            short_KN[1:] = np.diff(market.short_paid_TN[row_K], axis=0) / price_KN[:-1]
    waited_K = np.diff(fill_K, prepend=fill_K[:1])
    money_V = np.full(variants, capital)
    carries = market.carry_paid_TN is not None or market.short_paid_TN is not None

    def settle(chosen_K: NDArray[np.int64]) -> None:
        """Solve the executions ``chosen_K``, whose predecessors are solved."""
        everything = len(chosen_K) == executions
        chosen = slice(None) if everything else chosen_K  # views where nothing is picked out
        # What is held before the first execution is nothing: where everything is solved at once, that row needs no copy.
        skipped = int(everything)
        if everything:
            before, kept = held_VKN, weight_VKN[:, :-1]
        else:
            before = kept = weight_VKN[:, chosen_K - 1]
            before[:, chosen_K == 0] = 0.0
        change, carry, short = (each_KN[chosen][skipped:] for each_KN in (change_KN, carry_KN, short_KN))
        # Sums run over the last axis alone (never through BLAS), so that later rows cannot touch a bit of earlier ones.
        gain = np.zeros(before.shape[:2])
        np.einsum("vkn,kn->vk", kept, change, out=gain[:, skipped:])
        if carries:
            gain[:, skipped:] -= np.einsum("vkn,kn->vk", kept, carry)
            gain[:, skipped:] -= np.einsum("vkn,kn->vk", np.maximum(-kept, 0.0), short)
        if market.interest:
            idle = np.ones(before.shape[:2])
            idle[:, skipped:] = _idle(kept)
            gain += idle * market.interest * waited_K[chosen]
        growth = 1.0 + gain
        np.multiply(kept, 1.0 + change, out=before[:, skipped:])
        before /= growth[..., None]
        active = active_VKN[:, chosen]
        whole = bool(active.all())
        cost = market.trade_cost_N if whole else np.where(active, market.trade_cost_N, 0.0)
        if not market.impacts:
            share = equity_share_after_trade(weight_VKN[:, chosen], before, cost)
        else:
            nonlocal money_V
            money_V = money_V * growth[:, 0]
            money_V11 = np.maximum(money_V, 0.0)[:, None, None]
            impacts = [
                (law.power, np.where(active, law.coefficient_TN[row_K[chosen]], 0.0) * money_V11 ** (law.power - 1))
                for law in market.impacts
            ]
            share = equity_share_after_impact(weight_VKN[:, chosen], before, cost, impacts)
        # Who is ruined before the trade does not trade: shares of a debt would turn its sign, and ruin into money.
        share = np.where(growth > 0, share, 1.0)
        if market.impacts:
            money_V = money_V * share[:, 0]
        if not whole:
            weight_VKN[:, chosen] = np.where(active, weight_VKN[:, chosen], before / share[..., None])
        if not everything:
            held_VKN[:, chosen] = before
        share_VK[:, chosen], growth_VK[:, chosen] = share, growth

    # An execution depends on the one before it where it leaves an asset alone that may have been held by then.
    depends_K = np.zeros(executions, dtype=bool)
    if not everything_active:
        ever_before_VKN = np.logical_or.accumulate(active_VKN, axis=1)[:, :-1]
        depends_K[1:] = (~active_VKN[:, 1:] & ever_before_VKN).any(axis=(0, 2))
    round_K = np.arange(executions) - np.maximum.accumulate(np.where(depends_K, 0, np.arange(executions)))
    if market.impacts:
        # Impact knows how much money there is: every execution depends on all before it.
        for execution in range(executions):
            settle(np.array([execution]))
    else:
        for number in range(1, int(round_K.max(initial=0)) + 1):
            settle(np.flatnonzero(round_K == number))
        # Weights after a free execution are its targets; only its costs had to wait for what came before.
        settle(np.flatnonzero(round_K == 0))
    return Executions(active_VKN, weight_VKN, held_VKN, share_VK, growth_VK)


def equity_by_row(
    market: Market, start: int, fill_K: NDArray[np.int64], path: Executions, capital: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(V, T) equity by row, and (V, K) equity after each execution."""
    variants, executions = path.share_VK.shape
    rows = len(market.as_of_T) - start
    after_VK: NDArray[np.float64] = np.multiply(np.cumprod(path.growth_VK * path.share_VK, axis=1), capital)
    equity_VT = np.empty((variants, rows))
    if not executions:
        equity_VT[:] = capital
        return equity_VT, after_VK
    first, length_K = int(fill_K[0]), np.diff(np.append(fill_K, rows))
    long_TN, short_TN = market.long_worth_TN[start:], market.short_worth_TN
    units_VKN = path.weight_VKN * after_VK[..., None]
    units_VKN /= market.price_TN[start + fill_K]
    # A short is worth less by what shorts alone pay: (units >= 0) * long worth + (units < 0) * short worth.
    legs = [(long_TN, units_VKN)]
    if short_TN is not None:
        legs = [(long_TN, np.maximum(units_VKN, 0.0)), (short_TN[start:], np.minimum(units_VKN, 0.0))]
    equity_VT[:, :first] = capital
    if variants == 1:
        equity_VT[0, first:] = np.repeat(after_VK[0], length_K)
        for worth_TN, held_VKN in legs:
            equity_VT[0, first:] += _gain_since_fill(worth_TN, held_VKN[0], fill_K, length_K)
    else:
        _fill_equity(equity_VT, legs, after_VK, fill_K, length_K)
    if market.interest:
        since_T = np.arange(first, rows) - np.repeat(fill_K, length_K)
        earned_VK = _idle(path.weight_VKN) * after_VK * market.interest
        equity_VT[:, first:] += np.repeat(earned_VK, length_K, axis=1) * since_T
    return equity_VT, after_VK


def _idle(weight_VKN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, K) share of equity that is not invested."""
    return np.maximum(1.0 - np.abs(weight_VKN).sum(axis=-1), 0.0)


def _gain_since_fill(
    worth_TN: NDArray[np.float64], held_KN: NDArray[np.float64], fill_K: NDArray[np.int64], length_K: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(rows from the first execution on,) change of worth of the units held since their execution."""
    rows, first = len(worth_TN), int(fill_K[0])
    at_fill_K = (held_KN * worth_TN[fill_K]).sum(axis=1)
    execution_T = np.repeat(np.arange(len(fill_K)), length_K)
    gain_T = np.empty(rows - first)
    for block in range(first, rows, _BLOCK_ROWS):
        execution_B = execution_T[block - first : block - first + _BLOCK_ROWS]
        worth_B = (held_KN[execution_B] * worth_TN[block : block + _BLOCK_ROWS]).sum(axis=1)
        gain_T[block - first : block - first + _BLOCK_ROWS] = worth_B - at_fill_K[execution_B]
    return gain_T


def _fill_equity(
    equity_VT: NDArray[np.float64],
    legs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    after_VK: NDArray[np.float64],
    fill_K: NDArray[np.int64],
    length_K: NDArray[np.int64],
) -> None:
    """Write equity from the first execution on into ``equity_VT``: one batched product a run of equally long segments."""
    variants, _ = after_VK.shape
    edges = [0, *(np.flatnonzero(np.diff(length_K)) + 1).tolist(), len(length_K)]
    cash_VK = after_VK - sum(np.einsum("vkn,kn->vk", held_VKN, worth_TN[fill_K]) for worth_TN, held_VKN in legs)
    for begin, end in pairwise(edges):
        segments, length, row = end - begin, int(length_K[begin]), int(fill_K[begin])
        rows = slice(row, row + segments * length)
        run_VKL = np.lib.stride_tricks.as_strided(
            equity_VT[:, rows],
            (variants, segments, length),
            (equity_VT.strides[0], length * equity_VT.strides[1], equity_VT.strides[1]),
        )
        for leg, (worth_TN, held_VKN) in enumerate(legs):
            worth_KNL = worth_TN[rows].reshape(segments, length, -1).transpose(0, 2, 1)
            held_KVN = held_VKN[:, begin:end].transpose(1, 0, 2)
            if leg == 0:
                np.matmul(held_KVN, worth_KNL, out=run_VKL.transpose(1, 0, 2))
            else:
                run_VKL += (held_KVN @ worth_KNL).transpose(1, 0, 2)
        run_VKL += cash_VK[:, begin:end, None]
