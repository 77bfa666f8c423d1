"""Independent engines and metric libraries, each under its own convention; every known difference is stated.

bt, empyrical-reloaded and quantstats run here; vectorbt's equity is frozen (oracles/freeze_vectorbt.py).
"""

import json
from pathlib import Path

import bt
import empyrical as ep
import numpy as np
import pandas as pd
import pytest
import quantstats as qs

from crossattn_core.backtest.comparison import benchmark_relative
from crossattn_core.backtest.costs.trading import Fee
from crossattn_core.backtest.market import Market
from crossattn_core.backtest.performance import sharpe, sortino, underwater
from crossattn_core.backtest.simulate import simulate
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.oracles import case

DAILY = 0.0004 + 0.01 * np.random.default_rng(0).standard_t(4, 750)
SERIES = pd.Series(DAILY, index=pd.date_range("2022-01-03", periods=len(DAILY), freq="D"))
VECTORBT = json.loads((Path(__file__).parent / "oracles" / "vectorbt.json").read_text())


def ours(cost):
    as_of_T = case.times().astype("datetime64[us]")
    market = Market(
        as_of_T=as_of_T,
        asset_ids=tuple(f"bybit:linear:A{asset}" for asset in range(case.ASSETS)),
        price_TN=case.prices(),
        tradable_TN=np.ones((case.ROWS, case.ASSETS), dtype=bool),
        costs=(Fee(np.full(case.ASSETS, cost)),),
    )
    chosen = Targets("oracle", market.asset_ids, as_of_T[case.fills() - 1], case.weights())
    return simulate(market, chosen, execution_lag=1, capital=case.CAPITAL).equity_T


def sized_before_costs(cost):
    """Equity where orders are sized by the value before fees, and fees come out of cash: the convention of both engines."""
    price_TN, weight_KN = case.prices(), case.weights()
    fill_at = {row: place for place, row in enumerate(case.fills().tolist())}
    cash, units_N, equity_T = case.CAPITAL, np.zeros(case.ASSETS), np.zeros(case.ROWS)
    for row, price_N in enumerate(price_TN):
        if row in fill_at:
            wanted_N = weight_KN[fill_at[row]] * (cash + units_N @ price_N) / price_N
            cash -= (wanted_N - units_N) @ price_N + cost * np.abs((wanted_N - units_N) * price_N).sum()
            units_N = wanted_N
        equity_T[row] = cash + units_N @ price_N
    return equity_T


def by_bt(cost):
    close = pd.DataFrame(case.prices(), index=pd.DatetimeIndex(case.times()), columns=[f"A{n}" for n in range(case.ASSETS)])
    weight = pd.DataFrame(case.weights(), index=close.index[case.fills()], columns=close.columns)
    strategy = bt.Strategy("oracle", [bt.algos.RunOnDate(*weight.index), bt.algos.WeighTarget(weight), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy, close, integer_positions=False, commissions=lambda units, price: abs(units) * price * cost,
        initial_capital=case.CAPITAL, progress_bar=False,
    )  # fmt: skip
    bt.run(test)
    return test.strategy.values.to_numpy()[1:]


def test_without_costs_every_engine_gives_the_same_equity():
    np.testing.assert_allclose(VECTORBT["free"], ours(0.0), rtol=1e-10)
    np.testing.assert_allclose(by_bt(0.0), ours(0.0), rtol=1e-10)


def test_vectorbt_sizes_orders_before_costs_and_ours_after():
    np.testing.assert_allclose(VECTORBT["costly"], sized_before_costs(case.COST), rtol=1e-10)
    # The convention alone is what separates them: a share of one trade's cost, twenty times below the cost itself.
    paid = 1 - ours(case.COST)[-1] / ours(0.0)[-1]
    assert 0 < abs(VECTORBT["costly"][-1] / ours(case.COST)[-1] - 1) < 0.05 * paid


def test_bt_pays_each_fee_as_it_trades_and_stays_within_a_share_of_the_costs():
    paid = 1 - ours(case.COST)[-1] / ours(0.0)[-1]
    assert 0 < abs(by_bt(case.COST)[-1] / ours(case.COST)[-1] - 1) < 0.05 * paid


def test_empyrical_agrees():
    assert sharpe(DAILY, 252) == pytest.approx(ep.sharpe_ratio(DAILY), rel=1e-12)
    # empyrical's curve starts at the first return, so a loss on the first day is no fall to it; ours starts at capital.
    equity_T = np.cumprod(np.append(1.0, 1 + DAILY))
    assert underwater(equity_T).min() == pytest.approx(ep.max_drawdown(np.append(0.0, DAILY)), rel=1e-12)
    assert -np.percentile(DAILY, 5) == pytest.approx(-ep.value_at_risk(DAILY), rel=1e-12)
    assert np.percentile(DAILY, 95) / abs(np.percentile(DAILY, 5)) == pytest.approx(ep.tail_ratio(DAILY), rel=1e-12)
    # Its downside risk, and the Sortino ratio on it, do not run under NumPy 2 (np.NINF): quantstats stands for them below.


def test_the_information_ratio_agrees_with_empyrical_and_quantstats():
    market = 0.0002 + 0.009 * np.random.default_rng(1).standard_normal(len(DAILY))
    # Both give it per day; ours is per year.
    per_day = benchmark_relative(DAILY, market, periods_per_day=1, days_per_year=252).information_ratio / np.sqrt(252)
    assert per_day == pytest.approx(ep.excess_sharpe(DAILY, market), rel=1e-12)
    assert per_day == pytest.approx(float(qs.stats.information_ratio(SERIES, pd.Series(market, index=SERIES.index))), rel=1e-9)


def test_quantstats_agrees():
    assert sharpe(DAILY, 252) == pytest.approx(float(qs.stats.sharpe(SERIES, periods=252)), rel=1e-9)
    # Its Sortino is ours: the downside about zero over all observations.
    assert sortino(DAILY, 252) == pytest.approx(float(qs.stats.sortino(SERIES, periods=252)), rel=1e-9)
    equity_T = np.cumprod(np.append(1.0, 1 + DAILY))
    assert underwater(equity_T).min() == pytest.approx(float(qs.stats.max_drawdown(SERIES)), rel=1e-9)
    gains, losses = DAILY[DAILY > 0].sum(), -DAILY[DAILY < 0].sum()
    assert gains / losses == pytest.approx(float(qs.stats.profit_factor(SERIES)), rel=1e-9)
    # Its value at risk is the normal law's quantile; ours is the empirical one and differs on fat tails.
    assert float(qs.stats.value_at_risk(SERIES)) == pytest.approx(DAILY.mean() - 1.6448536 * DAILY.std(ddof=1), rel=1e-6)
