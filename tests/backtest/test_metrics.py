"""Metrics by hand; beside other libraries in test_oracles.py."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossattn_core.backtest.breakdown import by_month, metrics_by_part, worst_days
from crossattn_core.backtest.comparison import sharpe_intervals
from crossattn_core.backtest.costs.registry import cost_lines
from crossattn_core.backtest.metrics.registry import METRICS, Metric, Unit, metrics_of, unit_of
from crossattn_core.backtest.performance import daily_returns, drawdowns, sharpe, sortino, underwater
from crossattn_core.backtest.sensitivity import sensitivity
from crossattn_core.backtest.simulate import simulate
from crossattn_core.report.numbers import report_numbers
from crossattn_core.report.tables import metric_rows
from tests.backtest.markets import market, targets
from tests.report import story

DAILY = 0.0004 + 0.01 * np.random.default_rng(0).standard_t(4, 750)
DONE = simulate(on := market(seed=21, rows=24 * 90, closed=0.1), targets(on), execution_lag=1, capital=1e5)


def test_a_flat_series_has_no_sharpe():
    assert np.isnan(sharpe(np.full(100, 0.001), 365))
    assert np.isnan(sharpe(np.zeros(100), 365))
    assert np.isnan(sortino(np.full(100, 0.001), 365))


def test_a_loss_at_the_first_row_is_a_drawdown():
    assert underwater(np.array([100.0, 90.0, 95.0])).min() == pytest.approx(-0.1)
    (fall,) = drawdowns(np.array([100.0, 90.0, 95.0, 100.0]))
    assert (fall.peak, fall.trough, fall.recovered, fall.rows) == (0, 1, 3, 3)


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=40))
def test_drawdowns_cover_every_row_below_a_peak(steps):
    equity_T = np.cumprod(np.array([1.0, *steps]))
    falls = drawdowns(equity_T, deepest=100)
    below_T = np.zeros(len(equity_T), dtype=bool)
    for fall in falls:
        below_T[fall.peak + 1 : fall.recovered] = True
        assert fall.depth == underwater(equity_T)[fall.trough]
    np.testing.assert_array_equal(below_T, underwater(equity_T) < 0)


def test_days_compound_to_the_whole():
    _, day_return = daily_returns(DONE)
    assert np.prod(1 + day_return) == pytest.approx(DONE.equity_T[-1] / DONE.capital)
    assert np.prod(1 + by_month(DONE)) == pytest.approx(DONE.equity_T[-1] / DONE.capital)


def test_costs_and_net_add_up_to_gross():
    numbers = metrics_of(DONE)
    assert numbers.gross_return - numbers.cost_share == pytest.approx(numbers.net_return)
    assert sum(getattr(numbers, f"{kind}_share") for kind in cost_lines()) == pytest.approx(numbers.cost_share)


def test_higher_costs_earn_less_and_unchanged_costs_the_same():
    frame = sensitivity(DONE).set_index("scenario")["net_return"]
    assert frame["costs x 0"] > frame["costs x 1"] > frame["costs x 2"] > frame["costs x 3"]
    assert frame["costs x 1"] == pytest.approx(DONE.equity_T[-1] / DONE.capital - 1, abs=1e-12)


def test_the_worst_day_is_the_worst():
    _, day_return = daily_returns(DONE)
    frame = worst_days(DONE, ("A", "B", "C", "D"))
    assert frame["net_return"].iloc[0] == day_return.min()
    assert (frame["net_return"].diff().dropna() >= 0).all()


def test_the_same_seed_gives_the_same_interval_and_the_benchmark_no_difference():
    returns = {"a": DAILY, "b": DAILY[::-1].copy(), "cash": np.zeros(len(DAILY))}
    first, second = (
        sharpe_intervals(returns, "b", samples=100, confidence=0.9, seed=3, periods_per_day=1, days_per_year=252)
        for _ in range(2)
    )
    assert repr(first) == repr(second)
    assert set(first.difference) == {"a", "cash"}
    assert np.isnan(first.sharpe["cash"].low)
    assert first.sharpe["cash"].spans_zero
    assert first.sharpe["a"].low < first.sharpe["a"].estimate < first.sharpe["a"].high


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    truth, held = 1.0, 0
    for seed in range(120):
        series = truth / np.sqrt(252) * 0.01 + 0.01 * np.random.default_rng(seed).standard_normal(1500)
        interval = sharpe_intervals(
            {"a": series}, None, samples=200, confidence=0.9, seed=1, periods_per_day=1, days_per_year=252
        ).sharpe["a"]
        held += interval.low <= truth <= interval.high
    assert 0.8 < held / 120 < 0.97


def test_two_thousand_hours_leave_a_wide_interval():
    draw = np.random.default_rng(4)
    series = 0.004 * draw.standard_normal(2000) + 0.004 * 2.8 / np.sqrt(8760)
    interval = sharpe_intervals({"a": series}, None, samples=300, confidence=0.95, seed=1, periods_per_day=24).sharpe["a"]
    assert interval.high - interval.low > 6


def test_every_metric_has_a_unit_and_a_definition():
    numbers = metrics_of(DONE)
    for name, each in METRICS.items():
        assert each.definition.endswith("."), name
        assert each.unit == unit_of(name) in get_args(Unit)
        assert isinstance(numbers[name], bool) == (each.unit == "flag")
        if each.unit == "count":
            assert isinstance(numbers[name], int)


def test_a_metric_can_be_read_by_name_or_as_an_attribute_and_an_unknown_one_is_refused():
    numbers = metrics_of(DONE)
    assert numbers.sharpe == numbers["sharpe"]
    with pytest.raises(AttributeError, match="no metric is called 'sharp'; known: days, net_return"):
        _ = numbers.sharp


def test_a_metric_from_outside_is_in_every_account_and_on_the_page_in_its_unit():
    def best_hour(track):
        """Largest return of an hour."""
        return float(track.return_T.max())

    added = Metric("best_hour", "fraction", "higher", "Largest return of an hour.", best_hour, place=1000)
    with METRICS.temporarily("best_hour", added):
        assert metrics_of(DONE).best_hour == DONE.return_T[1:].max()
        assert "best_hour" in metrics_by_part(DONE, None, regime_windows=None, groups={})
        numbers = report_numbers(inputs := story.inputs())
        for name, simulation in inputs.simulations.items():
            assert numbers["strategies"][name]["best_hour"] == pytest.approx(simulation.return_T.max())
        rows = {name: cells for name, *cells in metric_rows(numbers["strategies"])}
        assert rows["best hour"][0] == f"{numbers['strategies'][numbers['subject']]['best_hour']:.1%}"
    assert "best_hour" not in metrics_of(DONE)
