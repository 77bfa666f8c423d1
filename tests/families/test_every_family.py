"""Every family that can be named goes through the whole line: walk-forward, costs, report."""

import json
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.families.registry import FAMILIES as REGISTRY
from crossattn_core.walk_forward.lookahead_checks import check_no_forecast_saw_its_label
from crossattn_core.walk_forward.store import read_plan
from tests.small import run_line, small_experiment, write_market

FAMILIES = REGISTRY.names()
GIVES_WEIGHTS = ("sharpe_attention", "portfolio_transformer", "masaat", "graph_attention_portfolio")


def everything(folder: Path) -> Experiment:
    return small_experiment(
        folder,
        period={"start": "2025-03-01", "end": "2025-03-18"},
        retrain={"families": FAMILIES, "minimum_days": 14, "every_days": 28},
        baselines={
            "strategies": ("equal_weight", *FAMILIES),
            "momentum_hours": 48,
            "volatility_hours": 96,
            "ridge_lags": 6,
            "boosted_trees": 5,
        },
        training={"epochs": 1, "minimum_batches": 1},
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory):
    market = tmp_path_factory.mktemp("market")
    write_market(market)
    return run_line(everything(market), tmp_path_factory.mktemp("home"))


def test_the_registry_knows_which_families_give_weights() -> None:
    assert {name for name, family in REGISTRY.items() if family.gives_weights} == set(GIVES_WEIGHTS)


def test_every_family_is_trained_healthy_and_in_force(ran) -> None:
    line, _, _ = ran
    newest = read_plan(line.home, line.last_day, line.last_day).set_index("family")
    assert set(newest.index) == set(FAMILIES)
    assert (newest["model_id"] != "").all()
    assert newest["healthy"].all()
    assert check_no_forecast_saw_its_label(line.home, line.experiment, line.panel()).empty


def test_every_family_trades_at_the_same_costs_and_stands_in_the_report(ran) -> None:
    _, inputs, paths = ran
    reported = json.loads(paths.json.read_text())["strategies"]
    page = paths.html.read_text()
    costs = [simulation.market.trade_cost_N for simulation in inputs.simulations.values()]
    assert all(np.array_equal(cost_N, costs[0]) for cost_N in costs)
    for family in FAMILIES:
        assert family in reported
        assert family in page
    for family in GIVES_WEIGHTS:
        assert inputs.simulations[family].trade_KN.any(), f"{family} never traded"


def test_a_family_that_is_unknown_or_untrained_is_refused_by_name() -> None:
    with pytest.raises(ExperimentError, match="did you mean 'lstm'"):
        load_experiment(None, {"retrain": {"families": ["lsmt"]}})
    with pytest.raises(ExperimentError, match=r"'gru', which is not trained"):
        load_experiment(None, {"baselines": {"strategies": ["cash", "gru"]}})
