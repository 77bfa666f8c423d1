"""The first sentence of the page: who was followed comes before returns, and a sure difference has to be one that matters."""

from dataclasses import replace

import pandas as pd
import pytest

from crossattn_core.backtest.comparison import Interval, SharpeIntervals
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.report.numbers import report_numbers
from crossattn_core.report.verdict import MIN_DIFFERENCE, verdict_of
from tests.report import story

OF = story.experiment()
METRICS = {name: metrics_of(simulation) for name, simulation in story.inputs(OF).simulations.items()}
METRICS["champion"] = METRICS["momentum"]
VOLATILITY = METRICS["equal_weight"].annual_volatility


def verdict(difference: Interval, benchmark_days=None):
    known = SharpeIntervals({name: Interval(1.0, -1.0, 3.0) for name in METRICS}, {"champion": difference}, 24, 100, 0.95)
    return verdict_of("champion", "equal_weight", METRICS, known, {}, OF, benchmark_days=benchmark_days)


def worth(a_year: float) -> Interval:
    """A difference of Sharpe ratios that is sure, and worth ``a_year`` at the benchmark's volatility."""
    estimate = a_year / VOLATILITY
    return Interval(estimate, 0.5 * estimate, 2 * estimate) if estimate > 0 else Interval(estimate, 2 * estimate, 0.5 * estimate)


@pytest.mark.parametrize("difference", [worth(0.2), worth(1e-4), worth(-0.2)])
def test_a_champion_that_followed_the_benchmark_every_day_is_neither_better_nor_worse(difference):
    found = verdict(difference, benchmark_days=(276, 276))
    assert found.stance == "open"
    assert found.headline == "Champion followed equal weight on all 276 decision days: no family was shown to beat it."


def test_a_champion_that_followed_the_benchmark_on_some_days_says_on_how_many():
    found = verdict(worth(0.2), benchmark_days=(41, 276))
    assert found.stance == "better"
    assert "It followed equal weight on 41 of 276 decision days." in found.sentences


def test_a_sure_difference_of_a_hundredth_of_a_percent_a_year_is_not_called_one():
    found = verdict(worth(1e-4), benchmark_days=(41, 276))
    assert found.stance == "open"
    assert found.headline.startswith("Champion is about as good as equal weight")
    assert "excludes zero, but at the volatility of equal weight that is +0.01% a year" in found.sentences[0]


@pytest.mark.parametrize(("sign", "stance"), [(1, "better"), (-1, "worse")])
def test_a_sure_difference_that_matters_is_called_by_its_side(sign, stance):
    found = verdict(worth(sign * 1.01 * MIN_DIFFERENCE), benchmark_days=(0, 276))
    assert found.stance == stance
    assert found.headline.startswith(f"Champion did {stance} than equal weight")
    assert not any("followed equal weight on" in sentence for sentence in found.sentences)


def test_a_large_difference_that_is_not_sure_is_not_called_one():
    assert verdict(Interval(3.0, -0.1, 6.0)).stance == "open"


def test_the_days_on_the_benchmark_are_counted_from_who_was_followed_not_from_returns():
    inputs = story.inputs(OF)
    days = pd.date_range("2025-02-01", "2025-07-01", freq="D")
    followed = pd.DataFrame({"day": days, "champion": "equal_weight"})
    champion = replace(inputs, subject="champion", simulations={**inputs.simulations, "champion": inputs.simulations["momentum"]})
    always = report_numbers(replace(champion, followed=followed))["verdict"]
    assert "followed equal weight on all" in always["headline"]
    followed.loc[followed["day"] >= "2025-04-01", "champion"] = "attention"
    sometimes = report_numbers(replace(champion, followed=followed))["verdict"]
    assert any("It followed equal weight on 45 of 136 decision days." in sentence for sentence in sometimes["sentences"])
