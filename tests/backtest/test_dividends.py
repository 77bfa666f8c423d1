"""Dividends: cash that moves from shorts to longs on its row, and goes nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from crossattn_core.backtest.costs.holding import Dividend
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate
from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.markets import cases, market

CAPITAL = 50_000.0
quick = settings(max_examples=40, deadline=None)


def flat(dividend_at=None, rows=30):
    """One asset at a constant price without costs, and a dividend of 1 per unit at a row."""
    on = market(seed=31, rows=rows, assets=1, cost_bps=0.0, closed=0.0, volatility=0.0, funding=False, borrow=False)
    dividend_TN = np.zeros((rows, 1))
    if dividend_at is not None:
        dividend_TN[dividend_at] = 1.0
    return on.with_costs(Dividend(dividend_TN))


def once(on, weight, row=0):
    return Targets("one", on.asset_ids, on.as_of_T[row : row + 1], np.array([[weight]]))


def both_engines(on, chosen):
    fast = simulate(on, chosen, execution_lag=1, capital=CAPITAL)
    equity_T, _, _ = simulate_by_loop(on, chosen, execution_lag=1, capital=CAPITAL)
    np.testing.assert_allclose(fast.equity_T, equity_T, rtol=1e-12)
    return fast


@pytest.mark.parametrize("weight", [1.0, 0.3, -1.0])
def test_a_long_receives_and_a_short_pays_what_its_units_are_due(weight):
    done = both_engines(on := flat(dividend_at=10), once(flat(), weight))
    units = weight * CAPITAL / on.price_TN[1, 0]
    np.testing.assert_allclose(done.equity_T[:10], CAPITAL, rtol=1e-12)
    np.testing.assert_allclose(done.equity_T[10:], CAPITAL + units, rtol=1e-12)


def test_who_buys_on_the_row_of_the_dividend_does_not_receive_it():
    done = both_engines(flat(dividend_at=10), once(flat(), 1.0, row=9))
    np.testing.assert_allclose(done.equity_T, CAPITAL, rtol=1e-12)


def test_who_sells_on_the_row_of_the_dividend_still_receives_it():
    on = flat(dividend_at=10)
    chosen = Targets("in and out", on.asset_ids, on.as_of_T[[0, 9]], np.array([[1.0], [0.0]]))
    done = both_engines(on, chosen)
    assert done.equity_T[-1] == pytest.approx(CAPITAL * (1 + 1 / on.price_TN[0, 0]), rel=1e-12)


def test_a_price_that_falls_by_its_dividend_leaves_equity_flat():
    on = flat(dividend_at=10)
    price_TN = on.price_TN.copy()
    price_TN[10:] -= 1.0
    for weight in (1.0, -0.5):
        done = both_engines(replace(on, price_TN=price_TN), once(on, weight))
        np.testing.assert_allclose(done.equity_T, CAPITAL, rtol=1e-12)


@quick
@given(cases())
def test_dividends_of_zero_change_not_one_bit(case):
    on, chosen, lag = case
    without = simulate(on.without_costs(Dividend), chosen, execution_lag=lag, capital=CAPITAL)
    zeros = simulate(on.with_costs(Dividend(np.zeros_like(on.price_TN))), chosen, execution_lag=lag, capital=CAPITAL)
    np.testing.assert_array_equal(zeros.equity_T, without.equity_T)


@quick
@given(cases())
def test_cash_is_conserved_equity_moves_by_prices_dividends_and_costs_alone(case):
    on, chosen, lag = case
    dividend_TN = 0.02 * on.price_TN * (np.arange(len(on.price_TN)) % 7 == 3)[:, None]
    on = on.with_costs(Dividend(dividend_TN))
    done = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    stop = len(done.equity_T) if done.ruined_at is None else done.ruined_at
    held_TN, price_TN = done.units_TN[: stop - 1], on.price_TN[done.start :]
    by_price_T = (held_TN * np.diff(price_TN, axis=0)[: stop - 1]).sum(axis=1)
    by_dividend_T = (held_TN * dividend_TN[done.start + 1 :][: stop - 1]).sum(axis=1)
    paid_T = sum(cost_T for cost_T in done.costs.values())[1:stop]
    np.testing.assert_allclose(np.diff(done.equity_T[:stop]), by_price_T + by_dividend_T - paid_T, atol=1e-9 * CAPITAL)


def test_dividends_stand_in_the_gross_return_and_not_among_the_costs():
    done = both_engines(on := flat(dividend_at=10), once(flat(), 1.0))
    numbers = metrics_of(done)
    assert numbers.dividend_share == pytest.approx(1 / on.price_TN[0, 0])
    assert numbers.gross_return == pytest.approx(numbers.net_return) == pytest.approx(numbers.dividend_share)
    assert numbers.cost_share == 0
    assert done.by_row()["dividend_received"].sum() == pytest.approx(numbers.dividend_share * CAPITAL)


def test_a_dividend_that_is_negative_or_unknown_is_refused():
    on = flat()
    for wrong in (-0.1, np.nan):
        dividend_TN = np.zeros_like(on.price_TN)
        dividend_TN[4, 0] = wrong
        with pytest.raises(BacktestError, match="0 where there is none"):
            on.with_costs(Dividend(dividend_TN))


def test_dividends_of_another_shape_are_refused():
    with pytest.raises(BacktestError, match="one value a price"):
        flat().with_costs(Dividend(np.zeros((3, 1))))
