"""A cost is one class: one from outside is charged by both engines, has its own line, and takes no more cash than it says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from crossattn_core.backtest.breakdown import metrics_by_part
from crossattn_core.backtest.costs.holding import Funding
from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, ImpactCost, NotionalCost, cost_lines
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.metrics.registry import metrics_of, unit_of
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import VenueCosts
from tests.backtest.markets import cases, market, targets
from tests.report import story

CAPITAL = 50_000.0


class Custody(CarryingCost):
    """A fee on what is held, long or short."""

    line = "custody"
    longs_pay, shorts_pay = 1.0, 1.0

    @classmethod
    def of(cls, inputs):
        return cls(np.broadcast_to(inputs.venue_rate_N("fee_bps") / 100, inputs.delisted_TN.shape))


class LongFee(Custody):
    """A fee on what is held long."""

    line = "long_fee"
    shorts_pay = 0.0


class Levy(NotionalCost):
    """A tax on trades."""

    line, knob = "levy", "slippage_bps"


class Toll(ImpactCost):
    """An impact by another power law."""

    line, power = "toll", 1.25

    @classmethod
    def of(cls, inputs):
        return None


def costs_from_outside(on):
    rate_TN = np.full(on.price_TN.shape, 1e-5)
    return Custody(rate_TN), LongFee(rate_TN), Levy(np.full(len(on.asset_ids), 2e-4)), Toll(1e-5 * np.sqrt(on.price_TN))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_cost_from_outside_is_charged_by_both_engines(case):
    on, chosen, lag = case
    on = on.with_costs(*costs_from_outside(on))
    fast = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    equity_T, units_TN, paid = simulate_by_loop(on, chosen, execution_lag=lag, capital=CAPITAL)
    np.testing.assert_allclose(fast.equity_T, equity_T, rtol=1e-12, atol=1e-12 * CAPITAL)
    np.testing.assert_allclose(fast.units_TN, units_TN, rtol=1e-10, atol=1e-12 * CAPITAL)
    assert {"custody", "long_fee", "levy", "toll"} <= set(fast.costs)
    for line, cost_T in fast.costs.items():
        np.testing.assert_allclose(cost_T, paid[line], rtol=1e-9, atol=1e-11 * CAPITAL, err_msg=line)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_with_a_cost_from_outside_equity_moves_by_prices_and_the_lines_of_the_account_alone(case):
    on, chosen, lag = case
    on = on.with_costs(*costs_from_outside(on))
    done = simulate(on, chosen, execution_lag=lag, capital=CAPITAL)
    stop = len(done.equity_T) if done.ruined_at is None else done.ruined_at
    by_price_T = (done.units_TN[: stop - 1] * np.diff(on.price_TN[done.start :], axis=0)[: stop - 1]).sum(axis=1)
    flow_T = sum(done.income.values()) - sum(done.costs.values())
    np.testing.assert_allclose(np.diff(done.equity_T[:stop]), by_price_T + flow_T[1:stop], atol=1e-9 * CAPITAL)


def test_longs_and_shorts_pay_what_the_class_says():
    on = market(seed=51, rows=50, assets=1, cost_bps=0.0, closed=0.0, volatility=0.0, funding=False, borrow=False)
    custody, long_fee, _, _ = costs_from_outside(on)
    for cost, weight, share in ((custody, 1.0, 1), (custody, -1.0, 1), (long_fee, 1.0, 1), (long_fee, -1.0, 0)):
        once = replace(targets(on, every=1000, first=0), target_DN=np.array([[weight]]))
        done = simulate(on.with_costs(cost), once, execution_lag=1, capital=CAPITAL)
        assert done.equity_T[-1] == pytest.approx(CAPITAL * (1 - share * 48 * 1e-5), rel=1e-12)


def test_a_cost_from_outside_is_a_line_of_the_account_of_its_metrics_and_of_every_part():
    on = market(seed=52, rows=24 * 40)
    done = simulate(on.with_costs(*costs_from_outside(on)), targets(on), execution_lag=1, capital=CAPITAL)
    hourly, numbers = done.by_row(), metrics_of(done)
    parts = metrics_by_part(done, None, regime_windows=None, groups={"asset": on.asset_ids})
    for line in ("custody", "long_fee", "levy", "toll"):
        assert hourly[f"{line}_paid"].sum() > 0
        assert numbers[f"{line}_share"] == pytest.approx(hourly[f"{line}_paid"].sum() / CAPITAL)
        assert (parts[f"{line}_share"] > 0).all()
    assert sum(numbers[f"{line}_share"] for line in done.costs) == pytest.approx(numbers.cost_share)


def test_variants_in_one_batch_pay_a_cost_from_outside_as_each_does_on_its_own():
    on = market(seed=53)
    on = on.with_costs(*costs_from_outside(on)).without_costs(ImpactCost)
    variants = [targets(on, seed=seed) for seed in range(3)]
    together_VT = simulate_many(on, variants, execution_lag=1, capital=CAPITAL)
    for variant, equity_T in zip(variants, together_VT, strict=True):
        np.testing.assert_allclose(equity_T, simulate(on, variant, execution_lag=1, capital=CAPITAL).equity_T, rtol=1e-12)


def test_a_registered_cost_is_made_from_the_knobs_and_charged_in_every_market():
    of = story.experiment()
    panel = story.panel(of)
    with COSTS.temporarily("custody", Custody):
        on = market_of(panel, of.assets, of.costs, of.backtest)
        assert cost_lines()[-1] == "custody"
        assert unit_of("custody_share") == "fraction"
        (custody,) = on.charged(Custody)
        venues = [asset.venue for asset in of.assets]
        expected_N = [getattr(of.costs, venue).fee_bps / 1e6 for venue in venues]
        np.testing.assert_allclose(custody.rate_TN[0], expected_N)
    assert not market_of(panel, of.assets, of.costs, of.backtest).charged(Custody)


def test_every_registered_cost_names_its_formula_and_its_line():
    lines = ("fee", "spread", "slippage", "impact", "funding", "borrow", "delisting", "interest")
    assert cost_lines() == lines
    for name, cost in COSTS.items():
        assert cost.__doc__, name
        assert cost.line in (*lines, "dividend")


def test_a_rate_of_another_shape_or_none_is_refused_with_its_place():
    on = market(seed=54, rows=30)
    with pytest.raises(BacktestError, match=r"funding: rate_TN has shape \(3, 1\), the market \(30, 4\)"):
        on.with_costs(Funding(np.zeros((3, 1))))
    rate_TN = np.zeros((30, 4))
    rate_TN[4, 2] = np.nan
    with pytest.raises(BacktestError, match="A2: funding nan at 2025-01-01T05:00"):
        on.with_costs(Funding(rate_TN))


def test_every_knob_in_basis_points_is_part_of_the_expected_cost_of_a_trade():
    class Taxed(VenueCosts):
        levy_bps: float = 2.0

    costs = Taxed(fee_bps=5.5, half_spread_bps=1.0, slippage_bps=3.5, borrow_bps_per_year=100.0)
    assert costs.trade_bps == 12.0
