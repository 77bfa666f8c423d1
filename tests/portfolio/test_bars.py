"""Decisions, risk and baselines at every bar: knobs in hours mean hours."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from crossattn_core.experiment import Experiment, PortfolioSettings, load_experiment
from crossattn_core.grid import Grid
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.portfolio.risk import bar_variance
from crossattn_core.portfolio.sizing import expected_carry, size_forecasts
from crossattn_core.portfolio.strategies.momentum import momentum
from crossattn_core.portfolio.tradability import open_at_fill
from tests.report import story


@pytest.mark.parametrize(
    ("bar", "hour", "every", "expected"),
    [
        ("1m", 15, 24, ["01T15:00", "02T15:00"]),
        ("5m", 3, 12, ["01T03:00", "01T15:00", "02T03:00", "02T15:00"]),
        ("1h", 15, 24, ["01T15:00", "02T15:00"]),
        ("4h", 16, 24, ["01T16:00", "02T16:00"]),
        ("4h", 4, 8, ["01T04:00", "01T12:00", "01T20:00", "02T04:00", "02T12:00", "02T20:00"]),
        ("1d", 0, 24, ["02T00:00", "03T00:00"]),
    ],
)
def test_decisions_lie_at_their_hour_whatever_the_bar(bar, hour, every, expected):
    as_of_T = Grid(bar=bar).rows(date(2025, 3, 1), date(2025, 3, 2))
    rows_D = decision_rows(as_of_T, PortfolioSettings(decision_hour=hour, rebalance_every=every))
    assert [str(as_of)[8:16] for as_of in as_of_T[rows_D]] == expected


def test_weeks_between_decisions_hang_on_the_calendar_at_every_bar():
    settings = PortfolioSettings(decision_hour=0, rebalance_every=24 * 7)
    found = []
    for bar in ("1m", "1h", "1d"):
        as_of_T = Grid(bar=bar).rows(date(2025, 3, 1), date(2025, 3, 20))
        found.append(as_of_T[decision_rows(as_of_T, settings)].tolist())
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


@pytest.mark.parametrize("bar", ["5m", "1h", "4h", "1d"])
def test_variance_times_bars_is_the_variance_of_a_day_at_every_bar(bar):
    grid = Grid(bar=bar)
    draw = np.random.default_rng(2)
    rows = max(60 * grid.bars_per_day, 400)
    mark_TN = np.exp(np.cumsum(0.02 * np.sqrt(1 / grid.bars_per_day) * draw.standard_normal((rows, 3)), axis=0))
    variance_DN = bar_variance(mark_TN, np.array([rows - 1]), grid.bars(24 * 400)) * grid.bars_per_day
    np.testing.assert_allclose(np.sqrt(variance_DN), 0.02, rtol=0.12)


def test_a_window_of_few_bars_still_gives_a_risk():
    mark_TN = np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal((100, 2)), axis=0))
    assert np.isfinite(bar_variance(mark_TN, np.array([99]), 30)).all()
    assert np.isnan(bar_variance(mark_TN, np.array([20]), 30)).all()


@pytest.mark.parametrize("bar", ["1m", "5m", "1h", "4h", "1d"])
def test_momentum_looks_back_its_hours_at_every_bar(bar):
    of = load_experiment(overrides={"grid": {"bar": bar}, "baselines": {"momentum_hours": 96}, "portfolio": {"max_weight": 1.0}})
    on = story.panel(of, last=date(2025, 1, 12))
    row = len(on.as_of_T) - 1 - int(of.grid.bars_per_day > 1) * of.grid.bars(8)
    mark_TN = np.full(on.mark_price_TN.shape, 100.0)
    back = row - of.grid.bars(96)
    mark_TN[back] = 100.0 - np.arange(mark_TN.shape[1])
    on = replace(on, mark_price_TN=mark_TN, age_hours_TN=np.zeros_like(on.age_hours_TN))
    target_N = momentum(on, np.array([row]), of)[0]
    traded_N = np.isfinite(target_N) & (target_N != 0)
    assert traded_N.sum() >= 4
    assert (np.diff(target_N[traded_N]) > 0).all()


@pytest.mark.parametrize("bar", ["1m", "5m", "1h", "4h", "1d"])
def test_the_expected_carry_of_a_day_is_what_a_day_paid(bar):
    of = story.experiment(bar)
    on = story.panel(of, last=date(2025, 1, 10))
    rate_TN = np.where(np.isfinite(on.funding_rate_TN), story.settlements(on.as_of_T, of.grid)[:, None] * 1e-4, np.nan)
    carry_DN = expected_carry(rate_TN, np.array([len(rate_TN) - 1]), of.grid.bars(72)) * of.grid.bars_per_day
    np.testing.assert_allclose(carry_DN[0, 0], 3e-4)


def fills_on(bar, moments, **sections):
    """Whether the venue of a stock and of a perp is open at a fill at each of ``moments``, one bar after its decision."""
    of = Experiment.model_validate({"grid": {"bar": bar}, **sections})
    on = story.panel(of, date(2025, 3, 3), date(2025, 3, 10))
    rows_D = np.searchsorted(on.as_of_T, np.array(moments, dtype="datetime64[us]")) - 1
    open_DN = open_at_fill(on, rows_D, of)
    return open_DN[:, -1].tolist(), open_DN[:, 0].tolist()


def test_a_stock_is_open_at_fills_in_its_session_alone_at_every_bar():
    # 2025-03-07 is a Friday: XNYS from 14:30 to 21:00 UTC.
    five = ["2025-03-07T14:30", "2025-03-07T14:35", "2025-03-07T21:00", "2025-03-07T21:05", "2025-03-08T15:00"]
    assert fills_on("5m", five) == ([False, True, True, False, False], [True] * 5)
    hours = ["2025-03-07T15:00", "2025-03-07T16:00", "2025-03-07T21:00", "2025-03-07T22:00"]
    assert fills_on("1h", hours)[0] == [False, True, True, False]
    days = ["2025-03-07T00:00", "2025-03-08T00:00", "2025-03-09T00:00", "2025-03-10T00:00", "2025-03-11T00:00"]
    assert fills_on("1d", days)[0] == [True, True, False, False, True]


@pytest.mark.parametrize("bar", ["5m", "4h", "1d"])
def test_a_decision_reads_nothing_after_its_row_at_every_bar(bar):
    of = story.experiment(bar, volatility_hours=24 * 30, volatility_target=0.2)
    on = story.panel(of, last=date(2025, 3, 1) if bar != "5m" else date(2025, 2, 5))
    forecast_TN = story.forecasts(of, on, ic=0.8)
    rows_D = decision_rows(on.as_of_T, of.portfolio, first=on.as_of_T[len(on.as_of_T) // 2])
    cut = int(rows_D[len(rows_D) // 2]) + 1
    before = size_forecasts(on.until(cut), forecast_TN[:cut], rows_D[rows_D < cut], of).target_DN
    after = size_forecasts(on, forecast_TN, rows_D, of).target_DN[: len(before)]
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before).any()
    for name in ("momentum", "inverse_volatility"):
        assert np.isfinite(target_weights(name, on, None, rows_D, of).target_DN).any(), name
