"""The page at every bar: it says times, stays small, and sorts a cross-section of stocks into deciles."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from crossattn_core.analysis.forecast_buckets import baseline_scores, forecast_buckets
from crossattn_core.experiment import load_experiment
from crossattn_core.grid import Grid
from crossattn_core.portfolio.decisions import decision_rows
from crossattn_core.portfolio.sizing import trade_cost
from crossattn_core.report.figures.performance import equity_figure, rolling_sharpe_figure
from crossattn_core.report.figures.style import MAX_POINTS, drawn_rows
from crossattn_core.report.html import bars_in_words, spelled
from crossattn_core.report.page import build_report
from tests.report import story

SPANS = {"1m": date(2025, 3, 10), "5m": date(2025, 4, 1), "4h": date(2025, 6, 30), "1d": date(2025, 6, 30)}


@pytest.fixture(scope="module", params=list(SPANS))
def made(request, tmp_path_factory):
    of = story.experiment(request.param)
    inputs = story.inputs(of, last=SPANS[request.param])
    return request.param, inputs, build_report(inputs, tmp_path_factory.mktemp(request.param))


def test_the_page_says_what_a_bar_is_and_when_orders_fill(made):
    bar, _, paths = made
    page = " ".join(paths.html.read_text().split())
    returns, fill, horizon = {
        "1m": ("daily returns, 365 a year", "1 minute", "1-hour"),
        "5m": ("daily returns, 365 a year", "5 minutes", "1-hour"),
        "4h": ("4-hour returns, 2,190 a year", "4 hours", "24-hour"),
        "1d": ("daily returns, 365 a year", "1 day", "7-day"),
    }[bar]
    assert returns in page
    assert f"An order fills {fill} after its decision" in page
    assert f"at the {horizon} horizon" in page


def test_the_page_is_no_larger_than_at_an_hour(made):
    _, _, paths = made
    assert paths.html.stat().st_size < 1_500_000


def test_the_numbers_are_of_the_same_kind_at_every_bar(made):
    bar, inputs, paths = made
    report = json.loads(paths.json.read_text())
    own = inputs.simulations["attention"]
    assert report["days"] == pytest.approx((len(own.as_of_T) - 1) * Grid(bar=bar).hours_per_bar / 24)
    assert report["bootstrap_block_hours"] % {"4h": 4}.get(bar, 24) == 0
    for numbers in report["strategies"].values():
        assert numbers["annual_volatility"] is None or numbers["annual_volatility"] < 5


def test_curves_of_minutes_are_thinned_to_the_newest_of_each_bin_and_hours_are_drawn_as_ever():
    for rows in (1, 700, 43_200, 525_600):
        drawn = drawn_rows(rows, Grid(bar="1m"))
        assert len(drawn) <= MAX_POINTS
        assert drawn[-1] == rows - 1
        assert (np.diff(drawn) == drawn[-1] - drawn[-2]).all() if len(drawn) > 1 else rows == 1
    np.testing.assert_array_equal(drawn_rows(50, Grid(bar="1h")), np.arange(50)[::6])
    np.testing.assert_array_equal(drawn_rows(50, Grid(bar="1d")), np.arange(50))


def test_no_line_has_more_points_than_the_page_is_wide():
    simulations = story.inputs(story.experiment("1m"), last=date(2025, 3, 1)).simulations
    for draw in (equity_figure, rolling_sharpe_figure):
        figure = draw(simulations, "attention", "equal_weight")
        assert max(len(line.get_xdata()) for axis in figure.axes for line in axis.lines) <= MAX_POINTS


@pytest.mark.parametrize(
    ("bar", "count", "said"), [("1m", 5, "5-minute"), ("5m", 12, "1-hour"), ("1h", 24, "24-hour"), ("1d", 7, "7-day")]
)
def test_a_horizon_is_spelled_as_a_time(bar, count, said):
    assert spelled(Grid(bar=bar).label(count)) == said


def test_bars_in_words():
    assert [bars_in_words(Grid(bar=bar)) for bar in ("1m", "5m", "1h", "4h", "1d")] == [
        "minutes",
        "bars of 5 minutes",
        "hours",
        "bars of 4 hours",
        "days",
    ]


def test_a_page_over_forty_six_stocks_shows_deciles_beside_the_baselines(tmp_path):
    assets = [{"venue": "yahoo", "symbol": f"S{n:02}", "sector": "made-up"} for n in range(46)]
    sections = {"feed": {"kind": "files", "folder": "nowhere"}, "backtest": {"bootstrap_samples": 100}}
    of = load_experiment(overrides={"grid": {"bar": "1d"}, "assets": assets, **sections})
    on = story.panel(of, last=date(2025, 12, 31))
    outcome_TN, horizon = story.outcome(of, on), of.labels.trade_horizon
    scores = {"attention": story.forecasts(of, on, 0.3), "lightgbm": story.forecasts(of, on, 0.0, seed=5)}
    scores |= baseline_scores(on, momentum_bars=28, reversal_bars=horizon)
    rows_D = decision_rows(on.as_of_T, of.portfolio, first=on.as_of_T[40])
    found = forecast_buckets(scores, outcome_TN, on.as_of_T, rows_D, trade_cost(on.asset_ids, of.costs), horizon=horizon)
    plain = story.inputs(story.experiment("1d"), last=SPANS["1d"])
    paths = build_report(replace(plain, buckets=found), tmp_path)
    page, report = paths.html.read_text(), json.loads(paths.json.read_text())
    assert "Returns by bucket of the forecast" in page
    assert 'id="buckets-' in page
    by_name = {line["forecast"]: line for line in report["buckets"]}
    assert list(by_name) == ["attention", "lightgbm", "momentum", "reversal"]
    for line in by_name.values():
        assert len(line["bucket_returns"]) == 10
        assert line["net"] < line["gross"]
    assert by_name["attention"]["monotonicity"] > 0.8
    assert by_name["attention"]["rank_ic_t"] > 5
