"""The same accounts at every bar: engines agree, no cash appears, rates by the year and settlements fall due once."""

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from crossattn_core.backtest.comparison import sharpe_intervals
from crossattn_core.backtest.costs.holding import Borrow, Interest, missing_settlements
from crossattn_core.backtest.costs.trading import LinearImpact, SquareRootImpact
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.backtest.performance import daily_returns, period_returns, periods_per_day, returns_by_period
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.sensitivity import sensitivity
from crossattn_core.backtest.simulate import simulate
from crossattn_core.experiment import load_experiment
from crossattn_core.grid import HOURLY, Grid
from tests.backtest.markets import market, rearranged, targets
from tests.report import story

BARS = ["1m", "5m", "15m", "1h", "4h", "1d"]
CAPITAL = 50_000.0


def on_grid(bar, days, **kwargs):
    grid = Grid(bar=bar)
    on = market(seed=5, rows=days * grid.bars_per_day, grid=grid, volatility=0.01 * np.sqrt(grid.hours_per_bar), **kwargs)
    every = max(1, grid.bars_per_day)
    return on, simulate(on, targets(on, every=every), execution_lag=1, capital=CAPITAL)


@pytest.mark.parametrize("bar", BARS)
def test_the_engine_agrees_with_the_loop_at_every_bar(bar):
    grid = Grid(bar=bar)
    rows = min(400, 60 * grid.bars_per_day)
    on = market(seed=11, rows=rows, grid=grid, impact=True, interest=True, dividends=True, delisted=True, delisting_loss=0.5)
    chosen = targets(on, every=7)
    done = simulate(on, chosen, execution_lag=2, capital=CAPITAL)
    equity_T, units_TN, paid = simulate_by_loop(on, chosen, execution_lag=2, capital=CAPITAL)
    np.testing.assert_allclose(done.equity_T, equity_T, rtol=1e-12, atol=1e-12 * CAPITAL)
    np.testing.assert_allclose(done.units_TN, units_TN, rtol=1e-10, atol=1e-12 * CAPITAL)
    for line, cost_T in done.costs.items():
        np.testing.assert_allclose(cost_T, paid[line], rtol=1e-9, atol=1e-11 * CAPITAL, err_msg=line)


@pytest.mark.parametrize("bar", BARS)
def test_what_assets_made_and_interest_are_the_change_of_equity_at_every_bar(bar):
    _, done = on_grid(bar, days=40 if bar in ("4h", "1d") else 4, interest=True)
    made_T = done.pnl_TN.sum(axis=1) - done.costs["interest"]
    np.testing.assert_allclose(np.diff(done.equity_T), made_T[1:], atol=1e-8)


@pytest.mark.parametrize("bar", BARS)
def test_metrics_are_annualised_by_the_grid_and_under_an_hour_ratios_are_of_days(bar):
    _, done = on_grid(bar, days=45)
    numbers, grid = metrics_of(done), Grid(bar=bar)
    return_T = done.return_T[1:]
    if grid.hours_per_bar < 1:
        return_P, per_year = daily_returns(done)[1], 365
        assert len(return_P) == 46  # the first and the last are parts
    else:
        return_P, per_year = return_T, 8760 / grid.hours_per_bar
    assert numbers.days == pytest.approx(len(return_T) * grid.hours_per_bar / 24)
    assert numbers.sharpe == pytest.approx(return_P.mean() / return_P.std(ddof=1) * np.sqrt(per_year))
    assert numbers.annual_volatility == pytest.approx(return_P.std(ddof=1) * np.sqrt(per_year))
    assert numbers.sortino == pytest.approx(return_P.mean() / np.sqrt((np.minimum(return_P, 0) ** 2).mean()) * np.sqrt(per_year))
    assert numbers.annual_return == pytest.approx((1 + numbers.net_return) ** (365 / numbers.days) - 1)
    assert numbers.turnover_per_day == pytest.approx(done.turnover_T.sum() / numbers.days)
    assert numbers.turnover_per_year == pytest.approx(365 * numbers.turnover_per_day)
    assert sensitivity(done).set_index("scenario")["sharpe"]["costs x 1"] == pytest.approx(numbers.sharpe)


def test_a_fall_of_three_bars_lasts_three_bars_of_time():
    for bar, hours in (("5m", 0.25), ("1h", 3), ("1d", 72)):
        grid = Grid(bar=bar)
        on, done = on_grid(bar, days=90 if bar == "1d" else 4, cost_bps=0.0, funding=False, borrow=False)
        done = replace(done, market=replace(on, grid=grid), equity_T=np.array([1.0, 0.9, 0.95, 1.0, 1.1]) * CAPITAL)
        done = replace(done, fill_K=done.fill_K[:0], trade_KN=done.trade_KN[:0], units_KN=done.units_KN[:0])
        shorter = rearranged(done.market, rows=slice(done.start + 5))
        assert metrics_of(replace(done, market=shorter)).max_drawdown_hours == pytest.approx(hours)


def test_returns_of_minutes_are_compounded_by_day_and_longer_bars_are_their_own_periods():
    minutes, hours = Grid(bar="1m"), HOURLY
    as_of_T = minutes.rows(date(2025, 1, 1), date(2025, 1, 3))[600:]
    return_T = 1e-4 * np.random.default_rng(0).standard_normal(len(as_of_T))
    newest_P, return_P = period_returns(as_of_T, return_T, minutes)
    assert newest_P.astype(str).tolist() == [f"2025-01-0{day}T00:00:00.000000" for day in (2, 3, 4)]
    edges = [0, 840, 840 + 1440, 840 + 2880]
    by_hand = [np.prod(1 + return_T[low:high]) - 1 for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(return_P, by_hand, rtol=1e-12)
    assert period_returns(as_of_T, return_T, hours)[1] is return_T
    assert len(period_returns(as_of_T[:0], return_T[:0], minutes)[1]) == 0
    assert [periods_per_day(Grid(bar=bar)) for bar in BARS] == [1, 1, 1, 24, 6, 1]


def test_the_same_days_have_the_same_interval_at_a_minute_and_at_a_day():
    returns = {bar: returns_by_period(on_grid(bar, days=60)[1]) for bar in ("1m", "5m")}
    for return_P in returns.values():
        found = sharpe_intervals({"a": return_P}, None, samples=200, confidence=0.9, seed=1, periods_per_day=1).sharpe["a"]
        assert found.low < found.estimate < found.high
        assert found.estimate == pytest.approx(return_P.mean() / return_P.std(ddof=1) * np.sqrt(365))


def test_a_year_of_borrow_and_of_interest_costs_its_rate_at_every_bar():
    settings = {"costs": {"interest_bps_per_year": 400}, "backtest": {"bootstrap_samples": 100}}
    for bar in BARS:
        of = load_experiment(overrides={"grid": {"bar": bar}, **settings})
        made = market_of(story.panel(of, last=date(2025, 1, 8)), of.assets, of.costs, of.backtest)
        borrow, interest = (next(cost for cost in made.costs if isinstance(cost, kind)) for kind in (Borrow, Interest))
        assert borrow.rate_TN[0, -1] * of.grid.bars_per_year == pytest.approx(of.costs.yahoo.borrow_bps_per_year / 1e4)
        assert -interest.rate * of.grid.bars_per_year == pytest.approx(0.04)
        assert made.grid == of.grid


@pytest.mark.parametrize("bar", ["1m", "5m", "1h", "4h", "1d"])
def test_three_settlements_a_day_are_due_at_every_bar(bar):
    of = story.experiment(bar)
    on = story.panel(of, last=date(2025, 1, 5))
    perps = sum(asset.pays_funding for asset in of.assets)
    assert missing_settlements(on, of.assets) == 0
    nothing = replace(on, funding_rate_TN=np.full_like(on.funding_rate_TN, np.nan))
    assert missing_settlements(nothing, of.assets) == 3 * 5 * perps


@pytest.mark.parametrize("bar", ["5m", "1h", "4h"])
def test_funding_is_charged_in_the_bar_that_holds_its_settlement_and_nowhere_else(bar):
    of = story.experiment(bar)
    on = story.panel(of, last=date(2025, 1, 4))
    charged_T = (market_of(on, of.assets, of.costs, of.backtest).charged(type_of("funding"))[0].rate_TN != 0).any(axis=1)
    due_T = np.isin(on.as_of_T.astype("datetime64[m]").astype(np.int64) % 1440, (0, 480, 960))
    np.testing.assert_array_equal(charged_T, due_T)


def test_an_order_has_the_same_impact_whatever_the_bar_of_a_market():
    draw = np.random.default_rng(3)
    size_KN, unit = np.full((1, 10), 1e5), {}
    for bar in ("5m", "1h", "4h"):
        of = load_experiment(overrides={"grid": {"bar": bar}, "costs": {"impact": 1.0, "linear_impact": 1.0}})
        on = story.panel(of, last=date(2025, 1, 28))
        # The same variance and value traded an hour, whatever it is cut into.
        move_TN = np.sqrt(of.grid.hours_per_bar) * 0.01 * np.sign(draw.standard_normal(on.mark_price_TN.shape))
        price_TN = 100 * np.exp(np.cumsum(move_TN, axis=0))
        value_TN = np.full(price_TN.shape, 1e7 * of.grid.hours_per_bar)
        everywhere_TN = np.ones(price_TN.shape, dtype=bool)
        on = replace(on, mark_price_TN=price_TN, trade_price_TN=price_TN, is_fresh_TN=everywhere_TN, quote_volume_TN=value_TN)
        made = market_of(on, of.assets, of.costs, of.backtest)
        last = np.array([len(on.as_of_T) - 1])
        unit[bar] = [made.charged(kind)[0].paid(size_KN, last)[0, 0] for kind in (SquareRootImpact, LinearImpact)]
    np.testing.assert_allclose(unit["1h"], [0.01 * np.sqrt(1e5 / 1e7) * 1e5, 0.01 * 1e5 / 1e7 * 1e5], rtol=1e-9)
    for bar in ("5m", "4h"):
        np.testing.assert_allclose(unit[bar], unit["1h"], rtol=1e-9)


def test_delays_are_said_as_a_time():
    for bar, later in (("5m", "filled 15 min later"), ("1h", "filled 3 h later"), ("1d", "filled 3 d later")):
        _, done = on_grid(bar, days=30 if bar == "1d" else 4)
        assert later in set(sensitivity(done)["scenario"])


def type_of(line):
    from crossattn_core.backtest.costs.registry import account_lines

    return account_lines()[line]
