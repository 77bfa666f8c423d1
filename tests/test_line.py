"""The whole line on a small market: no look-ahead from candle to equity, and the same bits every time."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.snapshot_store import read_snapshots
from crossattn_core.errors import HistoryError
from crossattn_core.home import Home
from crossattn_core.line import Line
from crossattn_core.portfolio.decide import read_weights
from crossattn_core.regimes.detectors.registry import daily_regimes
from crossattn_core.report.data import reported_strategies
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.page import ReportPaths
from crossattn_core.selection.handover import read_champions, read_orders
from crossattn_core.walk_forward.overrides import force_retrain
from crossattn_core.walk_forward.store import read_forecasts, read_plan
from tests.small import rewrite_after, run_line, small_experiment, write_market

Ran = tuple[Line, ReportInputs, ReportPaths]


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
        assert line.staleness.stale_days("attention_snapshot") == []
    finally:
        (line.home.walk_forward / "events.json").unlink()


# Mid-week in the hour after a decision (the champion has changed by then), at a day's end, and on a weekend when stocks rest.
@pytest.mark.parametrize("moment", [datetime(2025, 3, 27, 15), datetime(2025, 3, 22, 0), datetime(2025, 3, 23, 11)])
def test_rewriting_the_future_moves_nothing_that_is_past(ran: Ran, market: Path, tmp_path: Path, moment: datetime) -> None:
    shutil.copytree(market, tmp_path / "market")
    rewrite_after(tmp_path / "market", moment, seed=moment.day)
    line, inputs, _ = ran
    other_line, other_inputs, _ = run_line(small_experiment(tmp_path / "market"), tmp_path / "home")
    at = np.datetime64(moment, "us")

    panel, other_panel = line.panel(), other_line.panel()
    rows = panel.row_of(at) + 1
    assert panel.feature_TNF.shape == other_panel.feature_TNF.shape
    for name in (
        "feature_TNF",
        "trade_price_TN",
        "mark_price_TN",
        "is_fresh_TN",
        "age_hours_TN",
        "quote_volume_TN",
        "funding_rate_TN",
        "dividend_TN",
    ):
        held, other = getattr(panel, name), getattr(other_panel, name)
        assert np.array_equal(held[:rows], other[:rows], equal_nan=held.dtype != bool), name
    assert not np.array_equal(panel.trade_price_TN[rows:], other_panel.trade_price_TN[rows:], equal_nan=True), (
        "the rewrite did nothing"
    )

    first, last = line.experiment.period.start, line.last_day
    past_days = (moment - pd.Timedelta(1, "us")).date()
    regimes, other_regimes = (daily_regimes(held, line.experiment.regimes) for held in (panel, other_panel))
    complete = (moment.date() - first).days
    assert np.array_equal(regimes.regime_D[:complete], other_regimes.regime_D[:complete])

    plans = [held[held["day"] <= pd.Timestamp(past_days)] for held in (read_plan(line.home), read_plan(other_line.home))]
    pd.testing.assert_frame_equal(*plans, check_exact=True)
    assert plans[0]["model_id"].nunique() > 1, "no model was in force before the rewrite"

    forecasts = [read_forecasts(held.home, first, last) for held in (line, other_line)]
    pd.testing.assert_frame_equal(*(held[held["as_of"] <= moment].reset_index(drop=True) for held in forecasts), check_exact=True)
    assert not forecasts[0]["forecast"].equals(forecasts[1]["forecast"]), "the rewrite reached no forecast"

    snapshots = [read_snapshots(held.home, first, last) for held in (line, other_line)]
    day_windows = [held[held["day"] < pd.Timestamp(moment.date())].reset_index(drop=True) for held in snapshots]
    pd.testing.assert_frame_equal(*day_windows, check_exact=True)

    champions, other_champions = (read_champions(held.home) for held in (line, other_line))
    assert champions is not None
    assert other_champions is not None
    for chosen, other in zip(champions, other_champions, strict=True):
        day = "day" if "day" in chosen else "chosen_on"
        known = [held[held[day] <= pd.Timestamp(moment.date())].reset_index(drop=True) for held in (chosen, other)]
        pd.testing.assert_frame_equal(*known, check_exact=True)
    orders = [read_orders(held.home) for held in (line, other_line)]
    pd.testing.assert_frame_equal(*(held[held["as_of"] <= moment].reset_index(drop=True) for held in orders), check_exact=True)
    if moment.day > 26:
        assert set(orders[0].loc[orders[0]["as_of"] <= moment, "champion"]) == {"equal_weight", "attention"}

    for strategy in reported_strategies(line.experiment):
        targets, other_targets = (read_weights(held.home, strategy) for held in (line, other_line))
        decided = int((targets.as_of_D <= at).sum())
        assert np.array_equal(targets.target_DN[:decided], other_targets.target_DN[:decided], equal_nan=True), strategy
        simulation, other_simulation = inputs.simulations[strategy], other_inputs.simulations[strategy]
        known = int((simulation.as_of_T <= at).sum())
        assert known > 0
        assert np.array_equal(simulation.equity_T[:known], other_simulation.equity_T[:known]), strategy


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
        "walk_forward/forecasts/*",
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
