"""A baseline strategy is one file: registered by name, it is decided, simulated and reported beside the others."""

import numpy as np
import pandas as pd
import pytest

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.errors import ExperimentError, NoForecastError
from crossattn_core.experiment import load_experiment
from crossattn_core.portfolio.decisions import decide_all, traded_strategies
from crossattn_core.portfolio.strategies.registry import BASELINES, is_baseline
from crossattn_core.portfolio.target_weights import read_weights, save_weights
from crossattn_core.selection.follow import CHAMPION, reported_strategies
from tests.report import story

ON = story.panel(story.experiment())
FORECASTS = pd.DataFrame(
    {"as_of": [ON.as_of_T[400]], "asset_id": [ON.asset_ids[0]], "family": "attention", "horizon": 24, "forecast": [0.01]}
)
NO_WEIGHTS = pd.DataFrame({name: [] for name in ("as_of", "asset_id", "family", "value")})


def first_asset_only(past_panel, rows_D, experiment):
    """Everything in the first asset."""
    target_DN = np.zeros((len(rows_D), len(past_panel.asset_ids)))
    target_DN[:, 0] = 1.0
    return target_DN


def test_a_baseline_from_outside_is_traded_beside_the_others(tmp_path) -> None:
    with BASELINES.temporarily("first_asset_only", first_asset_only):
        of = load_experiment(overrides={"baselines": {"strategies": ["cash", "first_asset_only"]}})
        targets = decide_all(ON, FORECASTS, NO_WEIGHTS, of)
        assert tuple(targets) == ("attention", "ridge_var", "cash", "first_asset_only", "equal_weight")
        assert reported_strategies(of) == (*targets, CHAMPION)
    simulations = simulate_all(market_of(ON, of.assets, of.costs, of.backtest), targets, of)
    done = simulations["first_asset_only"]
    np.testing.assert_allclose(done.weight_TN[done.fill_K[0] :, 0], 1.0, atol=1e-3)
    np.testing.assert_array_equal(done.weight_TN[:, 1:], 0.0)
    assert simulations["cash"].equity_T[-1] == simulations["cash"].capital
    save_weights(tmp_path, targets["first_asset_only"])
    assert read_weights(tmp_path, "first_asset_only").content_hash == targets["first_asset_only"].content_hash


def test_every_strategy_decides_at_the_same_rows_from_the_first_forecast_on() -> None:
    targets = decide_all(ON, FORECASTS, NO_WEIGHTS, story.experiment())
    decided = {strategy.as_of_D.tobytes() for strategy in targets.values()}
    assert len(decided) == 1
    assert targets["cash"].as_of_D[0] >= ON.as_of_T[400]


def test_without_a_forecast_nothing_is_decided() -> None:
    with pytest.raises(NoForecastError, match="no forecasts between 2025-01-01 and 2025-06-30"):
        decide_all(ON, FORECASTS[:0], NO_WEIGHTS, story.experiment())


@pytest.mark.parametrize("overrides", [{"baselines": {"strategies": ["momentun"]}}, {"selection": {"fallback": "momentun"}}])
def test_a_strategy_that_is_neither_baseline_nor_family_is_refused_with_the_nearest_name(overrides) -> None:
    with pytest.raises(ExperimentError, match="did you mean 'momentum'"):
        load_experiment(overrides=overrides)


def test_the_default_strategies_are_known() -> None:
    of = load_experiment()
    assert all(is_baseline(name) or name in of.retrain.families for name in (*of.baselines.strategies, of.selection.fallback))


def test_a_family_that_is_not_trained_is_not_traded() -> None:
    of = load_experiment(overrides={"retrain": {"families": ["attention"]}})
    assert "ridge_var" in of.baselines.strategies
    assert "ridge_var" not in traded_strategies(of)
