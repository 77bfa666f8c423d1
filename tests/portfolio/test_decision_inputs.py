"""What target weights are asked of: rows and forecasts that are none are refused, and no infinity takes all weights with it."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.portfolio.strategies.registry import BASELINES

PANEL = planted_market(300, 3, (), seed=1)
EXPERIMENT = planted_experiment(PANEL)
ROWS_D = decision_rows(PANEL.as_of_T, EXPERIMENT.portfolio)
FORECAST_TN = (1e-3 * np.random.default_rng(0).standard_normal(PANEL.mark_price_TN.shape)).astype(np.float32)


def decided(forecast_TN=FORECAST_TN, rows_D=ROWS_D, strategy: str = "attention", **given) -> np.ndarray:
    return target_weights(strategy, PANEL, forecast_TN, rows_D, EXPERIMENT, **given).target_DN


def with_infinity_at(row: int) -> np.ndarray:
    forecast_TN = FORECAST_TN.copy()
    forecast_TN[row, 1] = -np.inf
    return forecast_TN


@pytest.mark.parametrize("given", ["forecast", "weight", "short"])
def test_an_infinity_that_a_decision_sees_is_refused_with_its_place(given: str) -> None:
    infinite_TN = with_infinity_at(100)
    arguments = {
        "forecast": {"forecast_TN": infinite_TN},
        "weight": {"forecast_TN": None, "past_weight_TN": infinite_TN},
        "short": {"past_short_TN": infinite_TN},
    }[given]
    place = f"of {PANEL.asset_ids[1]} at {PANEL.as_of_T[100]} .1 such in all"
    with pytest.raises(BacktestError, match=place):
        decided(**arguments)


def test_an_infinity_after_the_newest_decision_is_not_seen() -> None:
    early_D = ROWS_D[ROWS_D < 200]
    np.testing.assert_array_equal(decided(with_infinity_at(250), early_D), decided(rows_D=early_D))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (list(ROWS_D), "decision rows are list"),
        (ROWS_D.astype(float), "decision rows are float64; an array of row numbers"),
        (PANEL.as_of_T[ROWS_D], "decision rows are datetime64"),
        (np.isin(np.arange(300), ROWS_D), "decision rows are bool"),
        (ROWS_D[::-1], "not increasing within the panel's 0 .. 299"),
        (np.repeat(ROWS_D, 2), "not increasing within"),
        (np.array([5, 300]), "decision rows 5 .. 300 are not increasing within the panel's 0 .. 299"),
        (np.array([-5, 10]), "decision rows -5 .. 10"),
    ],
)
def test_rows_that_are_none_of_the_panel_are_refused(wrong: np.ndarray, message: str) -> None:
    for strategy in ("attention", "equal_weight"):
        with pytest.raises(BacktestError, match=message):
            decided(rows_D=wrong, strategy=strategy)


@pytest.mark.parametrize("strategy", ["attention", *BASELINES.names()])
def test_no_rows_are_no_decisions(strategy: str) -> None:
    assert decided(rows_D=ROWS_D[:0], strategy=strategy).shape == (0, 3)


def test_forecasts_that_are_no_array_of_floats_are_refused() -> None:
    for wrong, kind in (
        (pd.DataFrame(FORECAST_TN), "DataFrame"),
        (FORECAST_TN.tolist(), "list"),
        (FORECAST_TN.astype(object), "object"),
    ):
        with pytest.raises(BacktestError, match=f"forecasts are {kind}; an array of floats is needed"):
            decided(wrong)
