from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossattn_core.backtest.costs.holding import Funding, WriteOff
from crossattn_core.backtest.costs.trading import LinearImpact
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.self_financing import equity_share_after_impact
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.markets import cases, market, targets

CAPITAL = 50_000.0


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_fast_path_agrees_with_the_loop(case):
    on, chosen, lag = case
    fast = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    equity_T, units_TN, paid = simulate_by_loop(on, chosen, execution_lag=lag, capital=CAPITAL)
    np.testing.assert_allclose(fast.equity_T, equity_T, rtol=1e-12, atol=1e-12 * CAPITAL)
    np.testing.assert_allclose(fast.units_TN, units_TN, rtol=1e-10, atol=1e-12 * CAPITAL)
    for kind, cost_T in fast.costs.items():
        np.testing.assert_allclose(cost_T, paid[kind], rtol=1e-9, atol=1e-11 * CAPITAL, err_msg=kind)
    for line, income_T in fast.income.items():
        np.testing.assert_allclose(income_T, -paid[line], rtol=1e-9, atol=1e-11 * CAPITAL, err_msg=line)


@settings(max_examples=500, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(1e-6, 5))
def test_linear_impact_on_one_asset_is_the_larger_root_of_a_quadratic(target, held, coefficient):
    """x - 1 + c (w x - h)^2 = 0: who cannot pay for closing may still hold, or close in part."""
    square, linear, rest = coefficient * target**2, 1 - 2 * coefficient * target * held, coefficient * held**2 - 1
    discriminant = linear**2 - 4 * square * rest
    assume(abs(discriminant) > 1e-6 and abs(rest) > 1e-6)
    free = np.zeros((1, 1))
    share = equity_share_after_impact(np.array([[target]]), np.array([[held]]), free, [(2.0, np.array([[coefficient]]))]).item()
    if discriminant < 0:
        assert share == 0
        return
    larger = 2 * rest / (-linear - np.sqrt(discriminant)) if linear > 0 else (-linear + np.sqrt(discriminant)) / (2 * square)
    assert share == pytest.approx(max(larger, 0.0), abs=1e-9)


def test_a_position_too_large_to_close_is_still_held():
    """Closing it would cost a tenth more than the equity; holding it costs what has drifted, and the order to close is ruin."""
    held = market(seed=4, rows=12, assets=1, cost_bps=0.0, funding=False, borrow=False, closed=0.0, volatility=0.001)
    unit_TN = np.full((12, 1), 1e-12)
    unit_TN[2:] = 1.0 / (9.0 * CAPITAL) * 1.1
    on = held.with_costs(LinearImpact(unit_TN))
    short = Targets("short", on.asset_ids, on.as_of_T[:8], np.full((8, 1), -3.0))
    done = simulate(on, short, execution_lag=1, capital=CAPITAL)
    assert done.ruined_at is None
    assert done.equity_T[-1] == pytest.approx(CAPITAL, rel=0.02)
    np.testing.assert_allclose(
        done.equity_T, simulate_by_loop(on, short, execution_lag=1, capital=CAPITAL)[0], rtol=1e-12, atol=0
    )
    flat = replace(short, target_DN=np.where(np.arange(8)[:, None] < 5, -3.0, 0.0))
    assert simulate(on, flat, execution_lag=1, capital=CAPITAL).ruined_at == 6


def test_ruin_before_a_settlement_is_ruin():
    """All of the equity in an asset that is delisted at no value on a row that also pays funding: a debt is left."""
    held = market(seed=1, rows=12, assets=1, cost_bps=10.0, closed=0.0, volatility=0.001)
    gone_TN = np.zeros((12, 1), dtype=bool)
    gone_TN[6] = True
    funding_TN = np.where(gone_TN, 1e-4, 0.0)
    on = replace(held, delisted_TN=gone_TN).with_costs(WriteOff(gone_TN * 1.0), Funding(funding_TN))
    everything = Targets("everything", on.asset_ids, on.as_of_T[:1], np.ones((1, 1)))
    done = simulate(on, everything, execution_lag=1, capital=CAPITAL)
    assert done.ruined_at == 6
    assert (done.equity_T[6:] == 0).all()
    assert (done.equity_T[:6] > 0).all()
    assert (simulate_many(on, [everything] * 2, execution_lag=1, capital=CAPITAL) == done.equity_T).all()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_profit_by_asset_sums_to_the_change_of_equity(case):
    on, chosen, lag = case
    done = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    if done.ruined_at is None:
        made_T = done.pnl_TN.sum(axis=1) - done.costs["interest"]
        before_T = np.concatenate([[CAPITAL], done.equity_T[:-1]])
        # Bar by bar, in the money that moved: of a fortune that is lost to the last cent, that cent has no ten digits.
        moved_T = before_T + np.abs(done.pnl_TN).sum(axis=1)
        assert (np.abs(before_T + made_T - done.equity_T) <= 1e-12 * moved_T).all()


def test_variants_in_one_batch_equal_each_on_its_own():
    on = market(seed=3)
    variants = [targets(on, seed=seed) for seed in range(5)]
    together_VT = simulate_many(on, variants, execution_lag=1, capital=CAPITAL)
    for variant, equity_T in zip(variants, together_VT, strict=True):
        alone = simulate(on, variant, execution_lag=1, capital=CAPITAL)
        np.testing.assert_allclose(equity_T, alone.equity_T, rtol=1e-12)


def test_an_asset_that_cannot_trade_keeps_its_units():
    on = market(seed=5, closed=0.5)
    done = simulate(on, targets(on, left_alone=0.0), execution_lag=1, capital=CAPITAL)
    closed_KN = ~on.tradable_TN[done.start + done.fill_K]
    assert closed_KN.any()
    change_KN = np.diff(done.units_KN, axis=0, prepend=0.0)
    np.testing.assert_allclose(change_KN[closed_KN], 0.0, atol=1e-9)


def test_traded_assets_reach_their_targets_after_costs():
    on = market(seed=6, closed=0.3)
    done = simulate(on, targets(on), execution_lag=1, capital=CAPITAL)
    traded_KN = on.tradable_TN[done.start + done.fill_K] & np.isfinite(done.target_KN)
    np.testing.assert_allclose(done.weight_TN[done.fill_K][traded_KN], done.target_KN[traded_KN], rtol=1e-12)


def test_zero_weights_keep_equity_flat():
    on = market(seed=7)
    idle = targets(on)
    idle = Targets("cash", idle.asset_ids, idle.as_of_D, np.zeros_like(idle.target_DN))
    assert (simulate(on, idle, execution_lag=1, capital=CAPITAL).equity_T == CAPITAL).all()


def test_weights_for_other_assets_are_refused():
    on = market(seed=8)
    with pytest.raises(BacktestError, match="the market holds"):
        simulate(on, targets(market(assets=3)), execution_lag=1, capital=CAPITAL)


def test_an_execution_lag_of_zero_is_refused():
    on = market(seed=8)
    with pytest.raises(BacktestError, match="at least 1 row later"):
        simulate(on, targets(on), execution_lag=0, capital=CAPITAL)
