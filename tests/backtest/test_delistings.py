"""Listings and delistings: what comes into the market late, and what leaves it for good."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crossattn_core.backtest.costs.holding import WriteOff
from crossattn_core.backtest.delisting import delisted_rows
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.portfolio.positions import Positions
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.markets import market, targets
from tests.report import story

CAPITAL = 50_000.0
DEATH, SETTLED = 10, 20


def dying(loss=0.0, cost_bps=0.0):
    """Two assets at constant prices; the first trades until row DEATH and is settled at row SETTLED."""
    on = market(seed=41, rows=40, assets=2, cost_bps=cost_bps, closed=0.0, volatility=0.0, funding=False, borrow=False)
    tradable_TN, delisted_TN = on.tradable_TN.copy(), np.zeros_like(on.tradable_TN)
    tradable_TN[DEATH:, 0] = False
    delisted_TN[SETTLED, 0] = True
    return replace(on, tradable_TN=tradable_TN, delisted_TN=delisted_TN).with_costs(WriteOff(delisted_TN * loss))


def held(on, weight, rows=(0,)):
    return Targets("held", on.asset_ids, on.as_of_T[list(rows)], np.array([[weight, 0.0]] * len(rows)))


def both_engines(on, chosen):
    fast = simulate(on, chosen, execution_lag=1, capital=CAPITAL)
    equity_T, units_TN, _ = simulate_by_loop(on, chosen, execution_lag=1, capital=CAPITAL)
    np.testing.assert_allclose(fast.equity_T, equity_T, rtol=1e-12)
    np.testing.assert_allclose(fast.units_TN, units_TN, rtol=1e-10, atol=1e-9)
    return fast


def test_a_delisted_position_is_closed_at_its_last_price_with_the_cost_of_a_trade():
    done = both_engines(dying(cost_bps=10.0), held(dying(), 0.5))
    assert (done.units_TN[SETTLED - 1 :, 0] != 0).tolist() == [True] + [False] * 20
    before = done.equity_T[SETTLED - 1]
    assert done.equity_T[-1] == pytest.approx(before - 0.5 * before * 1e-3, rel=1e-9)


@pytest.mark.parametrize("weight", [0.6, -0.6])
@pytest.mark.parametrize("loss", [0.3, 1.0])
def test_what_is_written_off_is_lost_by_longs_and_kept_by_shorts(weight, loss):
    done = both_engines(dying(loss=loss), held(dying(), weight))
    assert done.equity_T[SETTLED - 1] == pytest.approx(CAPITAL, rel=1e-12)
    assert done.equity_T[-1] == pytest.approx(CAPITAL * (1 - weight * loss), rel=1e-12)
    assert metrics_of(done).delisting_share == pytest.approx(weight * loss)


def test_an_order_for_a_delisted_asset_fills_no_more():
    done = both_engines(dying(), held(dying(), 0.5, rows=(0, SETTLED - 1, SETTLED + 5)))
    assert not done.units_TN[SETTLED:, 0].any()


def test_what_is_settled_can_be_invested_elsewhere_at_the_next_decision():
    on = dying()
    chosen = Targets("move on", on.asset_ids, on.as_of_T[[0, 25]], np.array([[1.0, 0.0], [np.nan, 1.0]]))
    done = both_engines(on, chosen)
    assert done.weight_TN[-1].tolist() == pytest.approx([0.0, 1.0])


def test_variants_in_one_batch_settle_as_each_does_on_its_own():
    on = market(seed=43, rows=300, delisted=True, delisting_loss=0.4)
    variants = [targets(on, seed=seed) for seed in range(4)]
    together_VT = simulate_many(on, variants, execution_lag=1, capital=CAPITAL)
    for variant, equity_T in zip(variants, together_VT, strict=True):
        np.testing.assert_allclose(equity_T, simulate(on, variant, execution_lag=1, capital=CAPITAL).equity_T, rtol=1e-12)


def test_an_asset_that_is_listed_late_is_bought_at_its_first_tradable_fill_and_not_before():
    on = market(seed=44, rows=90, assets=2, closed=0.0, listed_late=True)
    chosen = Targets("late", on.asset_ids, on.as_of_T[::10], np.full((9, 2), 0.4))
    done = both_engines(on, chosen)
    listed = 90 // 3
    first = int(np.argmax(done.units_TN[:, 0] != 0))
    assert first == 31
    assert on.tradable_TN[listed:, 0].all()
    np.testing.assert_allclose(done.weight_TN[first, 0], 0.4, rtol=1e-9)


@given(arrays(np.float64, (30, 2), elements=st.floats(0, 60)), st.integers(0, 29), st.integers(1, 40))
def test_whether_an_asset_is_delisted_is_known_from_the_past_alone(age_TN, row, after):
    changed_TN = age_TN.copy()
    changed_TN[row + 1 :] = 60 - changed_TN[row + 1 :]
    np.testing.assert_array_equal(delisted_rows(changed_TN, after)[: row + 1], delisted_rows(age_TN, after)[: row + 1])


def panel_with_a_death():
    of = story.experiment()
    of = of.model_copy(update={"backtest": of.backtest.model_copy(update={"delisted_after_hours": 100})})
    on = story.panel(of, first=date(2025, 1, 1), last=date(2025, 2, 28))
    last = 700
    trade_TN, mark_TN, age_TN = on.trade_price_TN.copy(), on.mark_price_TN.copy(), on.age_hours_TN.copy()
    trade_TN[last + 1 :, 0], mark_TN[last + 1 :, 0] = np.nan, mark_TN[last, 0]
    age_TN[last:, 0] = np.arange(len(age_TN) - last)
    return of, replace(on, trade_price_TN=trade_TN, mark_price_TN=mark_TN, age_hours_TN=age_TN), last


def test_candles_that_end_for_good_end_in_a_settlement():
    of, on, last = panel_with_a_death()
    delisted_TN = market_of(on, of.assets, of.costs, of.backtest).delisted_TN
    assert np.argwhere(delisted_TN).tolist() == [[last + 100, 0]]


def test_a_weekend_is_no_delisting():
    of = story.experiment()
    on = story.panel(of, first=date(2025, 1, 1), last=date(2025, 2, 28))
    assert market_of(on, of.assets, of.costs, of.backtest).delisted_TN is None


def test_the_positions_of_a_strategy_forget_what_was_settled():
    of, on, last = panel_with_a_death()
    rows_D = decision_rows(on.as_of_T, of.portfolio, first=on.as_of_T[100])
    decided = target_weights("equal_weight", on, None, rows_D, of)
    done = simulate(
        market_of(on, of.assets, of.costs, of.backtest), decided, execution_lag=of.labels.execution_lag, capital=CAPITAL
    )
    positions = Positions(on, of)
    for decision, row in enumerate(rows_D):
        np.testing.assert_allclose(positions.weights_at(int(row)), done.weight_TN[row - done.start], atol=0.004)
        positions.order(int(row), decided.target_DN[decision])
    assert done.weight_TN[last + 99 - done.start, 0] > 0.05
    assert not done.weight_TN[last + 100 - done.start :, 0].any()


def test_an_account_that_lost_everything_is_ruined_whichever_way_the_last_digit_rounds():
    """All of the equity in two assets that are delisted at no value: what is left of them is 0, give or take 1e-11."""
    for seed in range(12):
        on = market(seed=seed, rows=14, assets=2, cost_bps=0.0, funding=False, borrow=False, closed=0.0, volatility=0.02)
        gone_TN = np.zeros((14, 2), bool)
        gone_TN[6] = True
        on = replace(on, delisted_TN=gone_TN).with_costs(WriteOff(gone_TN * 1.0))
        chosen = Targets("all in", on.asset_ids, on.as_of_T[[0, 8]], np.array([[0.3, 0.7], [0.5, 0.5]]))
        done = simulate(on, chosen, execution_lag=1, capital=50_000.0)
        assert done.ruined_at == 6
        expected_T, units_TN, _ = simulate_by_loop(on, chosen, execution_lag=1, capital=50_000.0)
        np.testing.assert_allclose(done.equity_T, expected_T, rtol=1e-12)
        assert not expected_T[6:].any()
        assert not units_TN[6:].any()
        assert not simulate_many(on, [chosen, chosen], execution_lag=1, capital=50_000.0)[:, 6:].any()
