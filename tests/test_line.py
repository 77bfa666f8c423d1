"""The whole line on a small market: no look-ahead from candle to equity, and the same bits every time."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.errors import HistoryError
from crossattn_core.home import Home
from crossattn_core.line import Line
from crossattn_core.selection.follow import reported_strategies
from crossattn_core.selection.handover import read_handover
from crossattn_core.walk_forward.overrides import force_retrain
from tests.past import Ran, assert_past_is_unmoved
from tests.small import rewrite_after, run_line, small_experiment, write_market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    write_market(folder)
    return folder


@pytest.fixture(scope="module")
def ran(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_line(small_experiment(market), tmp_path_factory.mktemp("home"))


def test_every_strategy_reaches_the_report(ran: Ran) -> None:
    line, inputs, paths = ran
    assert set(inputs.simulations) == set(reported_strategies(line.experiment))
    assert all(np.isfinite(simulation.equity_T).all() for simulation in inputs.simulations.values())
    assert paths.html.stat().st_size > 10_000


def test_a_second_run_finds_nothing_stale(ran: Ran) -> None:
    line, _, _ = ran
    staleness = line.staleness
    stages = ("candles/bybit", "candles/yahoo", "candles/bybit_funding", "aligned.bars", "features.bar", "features.trailing")
    for stage in (*stages, "feature_windows", "walk_forward", "attention_snapshot"):
        assert staleness.stale_days(stage) == [], stage
    for stage in ("regime_windows", "monitoring", "target_weights", "backtest_report"):
        assert not staleness.is_stale(stage), stage


def test_an_event_makes_its_own_day_and_later_ones_stale(ran: Ran) -> None:
    line, _, _ = ran
    day = line.last_day - timedelta(days=1)
    force_retrain(line.home, line.experiment, "new costs", day=day, rewrite=True)
    try:
        assert line.staleness.stale_days("walk_forward") == [day, line.last_day]
        assert line.staleness.stale_days("attention_snapshot") == [day, line.last_day]
    finally:
        (line.home.walk_forward / "events.json").unlink()


# Mid-week in the hour after a decision (the champion has changed by then), at a day's end, and on a weekend when stocks rest.
@pytest.mark.parametrize("moment", [datetime(2025, 3, 27, 15), datetime(2025, 3, 22, 0), datetime(2025, 3, 23, 11)])
def test_rewriting_the_future_moves_nothing_that_is_past(ran: Ran, market: Path, tmp_path: Path, moment: datetime) -> None:
    shutil.copytree(market, tmp_path / "market")
    rewrite_after(tmp_path / "market", moment, seed=moment.day)
    other = run_line(small_experiment(tmp_path / "market"), tmp_path / "home")
    assert_past_is_unmoved(ran, other, moment)
    orders = read_handover(ran[0].home.target_weights)
    if moment.day > 26:
        assert set(orders.loc[orders["as_of"] <= moment, "champion"]) == {"equal_weight", "attention"}


def test_too_little_history_for_a_model_says_how_much_is_needed_and_keeps_the_panel(market: Path, tmp_path: Path) -> None:
    experiment = small_experiment(market, retrain={"minimum_days": 60})
    with pytest.raises(HistoryError, match="needs 60 days of history"):
        run_line(experiment, tmp_path / "home")
    assert len(Line(experiment, Home(tmp_path / "home")).panel().as_of_T) == 28 * 24


def test_the_same_experiment_twice_gives_the_same_bytes(ran: Ran, market: Path, tmp_path: Path) -> None:
    line, _, paths = ran
    other_line, _, other_paths = run_line(small_experiment(market), tmp_path / "home")

    def contents(home: Path, pattern: str) -> dict[str, bytes]:
        return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.glob(pattern))}

    for pattern in (
        "models/*/*",
        "walk_forward/predictions/*",
        "walk_forward/plan/*",
        "attention/*.parquet",
        "weights/*",
        "target_weights/*",
    ):
        held = contents(line.home.root, pattern)
        assert held, pattern
        assert held == contents(other_line.home.root, pattern), pattern
    assert paths.html.read_bytes() == other_paths.html.read_bytes()
    assert paths.json.read_bytes() == other_paths.json.read_bytes()
