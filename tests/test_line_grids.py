"""The whole line at other bars than an hour: no look-ahead from candle to equity at one minute, five minutes and one day."""

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from crossattn_core.experiment import Experiment
from tests.past import assert_past_is_unmoved
from tests.small import rewrite_after, run_line, small_experiment, write_market_of

RETRAIN = {"minimum_days": 10, "every_days": 2, "cooldown_days": 1, "history_days": 20}
SHORT = {"horizons": [1, 4], "trade_horizon": 4}
MINUTES = {
    "period": {"start": "2025-03-01", "end": "2025-03-14"},
    "retrain": RETRAIN,
    "labels": SHORT,
    "regimes": {"minimum_days": 10, "volatility_days": 3, "confirm_days": 1},
    "training": {"epochs": 1, "warm_epochs": 1, "stride": 20, "embargo": 4, "minimum_batches": 1},
    "selection": {"every_days": 1, "window_days": 7, "minimum_days": 5, "confidence": 0.51, "block_days": 2},
    "analysis": {"permutations": 20, "window_days": 14, "max_lag": 4},
    "portfolio": {"volatility_hours": 48, "rebalance_every": 6, "decision_hour": 3},
}
CASES = {
    "1m": (MINUTES, datetime(2025, 3, 13, 15, 1)),
    "5m": (MINUTES, datetime(2025, 3, 13, 14, 35)),
    "1d": (
        {
            "period": {"start": "2024-12-01", "end": "2025-03-14"},
            "retrain": {"minimum_days": 50, "every_days": 14, "cooldown_days": 7, "history_days": 120},
            "labels": SHORT,
            "regimes": {"minimum_days": 30, "volatility_days": 14, "confirm_days": 2},
            "training": {"epochs": 1, "warm_epochs": 1, "embargo": 4, "minimum_batches": 1},
            "baselines": {"momentum_hours": 168, "volatility_hours": 720, "ridge_lags": 6},
            "portfolio": {"decision_hour": 0, "volatility_hours": 720},
            "analysis": {"permutations": 20, "window_days": 90, "max_lag": 4},
        },
        datetime(2025, 3, 5, 0),
    ),
}


def experiment_of(folder: Path, bar: str) -> Experiment:
    return small_experiment(folder, grid={"bar": bar}, **CASES[bar][0])


@pytest.mark.parametrize("bar", list(CASES))
def test_rewriting_the_future_moves_nothing_that_is_past(bar: str, tmp_path: Path) -> None:
    _, moment = CASES[bar]
    experiment = experiment_of(tmp_path / "market", bar)
    write_market_of(experiment, tmp_path / "market")
    shutil.copytree(tmp_path / "market", tmp_path / "other")
    rewrite_after(tmp_path / "other", moment, seed=7, step=experiment.grid.step)
    ran = run_line(experiment, tmp_path / "home")
    other = run_line(experiment_of(tmp_path / "other", bar), tmp_path / "other_home")
    assert ran[0].panel().grid.bar == bar
    assert_past_is_unmoved(ran, other, moment)
