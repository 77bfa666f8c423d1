"""What must not change equity, what must, and by how much."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossattn_core.backtest.costs.holding import Borrow, Dividend, Funding, WriteOff
from crossattn_core.backtest.costs.registry import ImpactCost
from crossattn_core.backtest.costs.trading import Fee, SquareRootImpact
from crossattn_core.backtest.simulate import simulate
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.markets import cases, market, rearranged, targets

CAPITAL = 50_000.0
quick = settings(max_examples=40, deadline=None)


def equity(on, chosen, lag=1, capital=CAPITAL):
    return simulate(on, chosen, execution_lag=lag, capital=capital).equity_T


def changed(on, **fields):
    return replace(on, **fields)


@quick
@given(cases(), st.data())
def test_rewriting_future_prices_and_weights_leaves_the_past_alone(case, data):
    on, chosen, lag = case
    row = data.draw(st.integers(0, len(on.as_of_T) - 1))
    draw = np.random.default_rng(1)
    price_TN, tradable_TN = on.price_TN.copy(), on.tradable_TN.copy()
    delisted_TN = None if on.delisted_TN is None else on.delisted_TN.copy()
    costs = on.costs
    if delisted_TN is not None:
        delisted_TN[row + 1 :] = draw.random(delisted_TN[row + 1 :].shape) < 0.1
        costs = [WriteOff(delisted_TN * (cost.rate_TN.max() or 1.0)) if isinstance(cost, WriteOff) else cost for cost in costs]
    price_TN[row + 1 :] *= draw.uniform(0.5, 2.0, price_TN[row + 1 :].shape)
    tradable_TN[row + 1 :] = ~tradable_TN[row + 1 :]
    target_DN = chosen.target_DN.copy()
    late_D = chosen.as_of_D > on.as_of_T[row]
    target_DN[late_D] = -target_DN[late_D]
    before = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    after = simulate(
        changed(on, price_TN=price_TN, tradable_TN=tradable_TN, delisted_TN=delisted_TN, costs=tuple(costs)),
        Targets(chosen.strategy, chosen.asset_ids, chosen.as_of_D, target_DN),
        execution_lag=lag,
        capital=CAPITAL,
    )
    kept = max(row + 1 - before.start, 0)
    np.testing.assert_array_equal(after.equity_T[:kept], before.equity_T[:kept])


@quick
@given(cases(), st.data())
def test_a_longer_market_leaves_the_past_alone(case, data):
    on, chosen, lag = case
    rows = data.draw(st.integers(5, len(on.as_of_T)))
    short = rearranged(on, rows=slice(rows))
    known_D = chosen.as_of_D <= short.as_of_T[-1]
    early = Targets(chosen.strategy, chosen.asset_ids, chosen.as_of_D[known_D], chosen.target_DN[known_D])
    equity_T = equity(short, early, lag)
    np.testing.assert_array_equal(equity_T, equity(on, chosen, lag)[: len(equity_T)])


@quick
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_assets_does_not_matter(case, random):
    on, chosen, lag = case
    order = list(range(len(on.asset_ids)))
    random.shuffle(order)
    shuffled = rearranged(on, assets=order)
    moved = Targets(chosen.strategy, shuffled.asset_ids, chosen.as_of_D, chosen.target_DN[:, order])
    np.testing.assert_allclose(equity(shuffled, moved, lag), equity(on, chosen, lag), rtol=1e-10, atol=1e-6)


@quick
@given(cases(), st.sampled_from([1e-6, 0.01, 1e5]))
def test_the_unit_of_a_price_does_not_matter(case, unit):
    on, chosen, lag = case
    scaled_TN = on.price_TN.copy()
    scaled_TN[:, 0] *= unit
    scaled = changed(on, price_TN=scaled_TN)
    for dividend in on.charged(Dividend):
        scaled = scaled.with_costs(Dividend(dividend.rate_TN * scaled_TN / on.price_TN))
    np.testing.assert_allclose(equity(scaled, chosen, lag), equity(on, chosen, lag), rtol=1e-10, atol=1e-6)


@quick
@given(cases(), st.sampled_from([1.0, 1e9]))
def test_equity_scales_with_capital_where_trades_move_no_price(case, capital):
    on, chosen, lag = case
    on = on.without_costs(ImpactCost)
    np.testing.assert_allclose(
        equity(on, chosen, lag, capital) / capital, equity(on, chosen, lag) / CAPITAL, rtol=1e-10, atol=1e-10
    )


@quick
@given(cases())
def test_an_asset_that_is_never_held_does_not_matter(case):
    on, chosen, lag = case
    other = market(seed=77, rows=len(on.as_of_T), assets=1)
    wider = rearranged(on, assets=[*range(len(on.asset_ids)), 0])
    delisted_TN = None if on.delisted_TN is None else np.hstack([on.delisted_TN, other.price_TN > 100])
    price_TN, tradable_TN = (np.hstack([getattr(on, name), getattr(other, name)]) for name in ("price_TN", "tradable_TN"))
    names = (*on.asset_ids, "bybit:linear:NEW")
    wider = changed(wider, asset_ids=names, price_TN=price_TN, tradable_TN=tradable_TN, delisted_TN=delisted_TN)
    wide = Targets(chosen.strategy, wider.asset_ids, chosen.as_of_D, np.hstack([chosen.target_DN, 0 * chosen.target_DN[:, :1]]))
    wide.target_DN[np.isnan(wide.target_DN[:, -1]), -1] = 0.0
    np.testing.assert_allclose(equity(wider, wide, lag), equity(on, chosen, lag), rtol=1e-12, atol=1e-6)


@quick
@given(cases())
def test_splitting_an_asset_into_two_clones_does_not_matter_where_trades_move_no_price(case):
    on, chosen, lag = case
    on = on.without_costs(ImpactCost)
    twice = rearranged(on, assets=[*range(len(on.asset_ids)), 0])
    twice = changed(twice, asset_ids=(*on.asset_ids, "bybit:linear:CLONE"))
    half_DN = np.hstack([chosen.target_DN, chosen.target_DN[:, :1] * 0.5])
    half_DN[:, 0] *= 0.5
    split = Targets(chosen.strategy, twice.asset_ids, chosen.as_of_D, half_DN)
    np.testing.assert_allclose(equity(twice, split, lag), equity(on, chosen, lag), rtol=1e-10, atol=1e-6)


@quick
@given(cases(), st.floats(0.0, 50.0))
def test_a_trading_cost_never_raises_the_first_equity_after_it(case, more_bps):
    on, chosen, lag = case
    (fee,) = on.charged(Fee)
    dearer = on.with_costs(Fee(fee.rate_N + more_bps / 1e4))
    cheap, dear = (simulate(each, chosen, execution_lag=lag, capital=CAPITAL) for each in (on, dearer))
    assume(len(cheap.fill_K))
    stop = int(cheap.fill_K[1]) if len(cheap.fill_K) > 1 else len(cheap.equity_T)
    first = int(cheap.fill_K[0])
    assert dear.equity_T[first] <= cheap.equity_T[first] * (1 + 1e-12)
    if (cheap.equity_T[first:stop] > 0).all() and (dear.equity_T[first:stop] > 0).all():
        # The same weights on less money: the same returns until the next trade.
        np.testing.assert_allclose(
            dear.equity_T[first:stop] / dear.equity_T[first], cheap.equity_T[first:stop] / cheap.equity_T[first], rtol=1e-9
        )


def test_trading_to_the_drifted_weights_costs_nothing():
    on = market(seed=11, rows=100, closed=0.0, funding=False, borrow=False)
    start = targets(on, seed=1, every=1000, left_alone=0.0)
    held = simulate(on, start, execution_lag=1, capital=CAPITAL)
    rows = [50, 70]
    again = Targets(
        "again", start.asset_ids, np.append(start.as_of_D, on.as_of_T[rows]),
        np.vstack([start.target_DN, held.weight_TN[np.array(rows) + 1 - held.start]]),
    )  # fmt: skip
    done = simulate(on, again, execution_lag=1, capital=CAPITAL)
    np.testing.assert_allclose(done.equity_T, held.equity_T, rtol=1e-13)


def test_a_schedule_may_start_late_and_end_on_the_newest_row():
    on = market(seed=12, rows=60)
    late = targets(on, first=59, every=1)
    assert simulate(on, late, execution_lag=1, capital=CAPITAL).equity_T.tolist() == [CAPITAL]
    ends = targets(on, first=58, every=1)
    assert len(simulate(on, ends, execution_lag=1, capital=CAPITAL).fill_K) == 1


def test_longs_pay_positive_funding_and_shorts_receive_it():
    on = market(seed=13, rows=50, assets=1, cost_bps=0.0, closed=0.0, volatility=0.0, borrow=False)
    on = on.with_costs(Funding(np.full((50, 1), 1e-4)))
    for sign in (1.0, -1.0):
        chosen = Targets("one", on.asset_ids, on.as_of_T[:1], np.array([[sign]]))
        assert equity(on, chosen)[-1] == pytest.approx(CAPITAL * (1 - sign * 48 * 1e-4), rel=1e-12)


def test_only_shorts_pay_borrow():
    on = market(seed=14, rows=50, assets=1, cost_bps=0.0, closed=0.0, volatility=0.0, funding=False)
    for sign, hours in ((1.0, 0), (-1.0, 48)):
        chosen = Targets("one", on.asset_ids, on.as_of_T[:1], np.array([[sign]]))
        assert equity(on, chosen)[-1] == pytest.approx(CAPITAL * (1 - hours * on.charged(Borrow)[0].rate_TN[0, 0]), rel=1e-12)


def test_ruin_ends_trading_for_good():
    on = market(seed=15, rows=50, assets=1, closed=0.0, funding=False, volatility=0.0)
    price_TN = on.price_TN.copy()
    price_TN[20:30] *= 3.0
    short = Targets("short", on.asset_ids, on.as_of_T[::10], np.full((5, 1), -1.0))
    done = simulate(changed(on, price_TN=price_TN), short, execution_lag=1, capital=CAPITAL)
    assert done.ruined_at == 20
    assert (done.equity_T[20:] == 0).all()
    assert (done.units_TN[20:] == 0).all()
    assert not done.trade_KN[2:].any()


def test_perfect_foresight_of_the_next_day_multiplies_capital_only_with_the_right_lag():
    on = market(seed=16, rows=1000, assets=3, closed=0.0, funding=False, borrow=False)
    rows = np.arange(0, 940, 24)
    up_DN = np.sign(on.price_TN[rows + 25] - on.price_TN[rows + 1]) / 3
    seen = Targets("seen", on.asset_ids, on.as_of_T[rows], up_DN)
    late = Targets("late", on.asset_ids, on.as_of_T[rows + 24], up_DN)
    assert equity(on, seen)[-1] > 3 * CAPITAL
    assert equity(on, late)[-1] < 1.3 * CAPITAL


def test_a_hundred_times_the_capital_pays_ten_times_the_impact():
    on = market(seed=17, rows=30, closed=0.0, cost_bps=0.0, impact=True, funding=False, borrow=False)
    on = on.with_costs(SquareRootImpact(on.charged(SquareRootImpact)[0].coefficient_TN * 1e-3))
    once = targets(on, every=1000, left_alone=0.0)
    small, large = (simulate(on, once, execution_lag=1, capital=capital) for capital in (1e4, 1e6))
    ratio = (large.costs["impact"].sum() / large.capital) / (small.costs["impact"].sum() / small.capital)
    assert ratio == pytest.approx(10, rel=0.01)


def test_cash_earns_interest_hour_by_hour():
    on = market(seed=18, rows=50, interest=True)
    idle = targets(on, every=1000, first=0)
    idle = Targets("cash", idle.asset_ids, idle.as_of_D, np.zeros_like(idle.target_DN))
    assert equity(on, idle)[-1] == pytest.approx(CAPITAL * (1 + 48 * on.interest), rel=1e-12)


def test_a_margin_call_cuts_leverage_a_row_later():
    on = changed(market(seed=19, rows=60, closed=0.0, funding=False, borrow=False, volatility=0.02), margin_leverage=2.0)
    twice = Targets("twice", on.asset_ids, on.as_of_T[:1], np.array([[0.475, 0.475, 0.475, 0.475]]))
    falling_TN = on.price_TN[0] * np.exp(-0.01 * np.arange(60))[:, None] * np.ones((1, 4))
    done = simulate(changed(on, price_TN=falling_TN), twice, execution_lag=1, capital=CAPITAL)
    assert len(done.margin_calls) >= 2
    for row in done.margin_calls:
        assert done.gross_exposure_T[row] > 2.0
        assert done.gross_exposure_T[row + 1] == pytest.approx(1.8, rel=1e-9)
    free = simulate(changed(on, price_TN=falling_TN, margin_leverage=0.0), twice, execution_lag=1, capital=CAPITAL)
    assert free.gross_exposure_T.max() > 3
    assert free.margin_calls == ()
