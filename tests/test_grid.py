"""The grid: rows, durations and defaults at every bar."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossattn_core.errors import ExperimentError, HomeError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.experiment.bar_defaults import BAR_DEFAULTS
from crossattn_core.grid import Grid, bar_names
from crossattn_core.home import open_home
from crossattn_core.stages import knob_values

GRIDS = st.sampled_from([Grid(bar=bar) for bar in bar_names()])
INSTANTS = st.datetimes(datetime(1999, 1, 1), datetime(2040, 1, 1))


@given(GRIDS, INSTANTS)
def test_the_row_of_an_instant_is_the_first_at_or_after_it(grid: Grid, instant: datetime) -> None:
    row = grid.row_of(instant).item()
    assert instant <= row < instant + grid.step
    assert grid.row_of(row).item() == row
    midnight = datetime(row.year, row.month, row.day)
    assert (row - midnight) % grid.step == timedelta(0)


@given(GRIDS, st.dates(date(2000, 1, 1), date(2035, 1, 1)), st.integers(0, 5))
def test_rows_of_days_are_a_bar_apart_and_end_at_midnight(grid: Grid, first: date, more: int) -> None:
    last = first + timedelta(days=more)
    row_T = grid.rows(first, last)
    assert len(row_T) == (more + 1) * grid.bars_per_day
    assert set(np.diff(row_T)) <= {grid.step_us}
    assert row_T[-1] == np.datetime64(last + timedelta(days=1), "us")
    assert np.array_equal(grid.position(row_T, row_T[0]), np.arange(len(row_T)))


@given(GRIDS, st.integers(1, 100_000))
def test_bars_cover_a_duration_and_no_fewer_do(grid: Grid, minutes: int) -> None:
    duration = timedelta(minutes=minutes)
    bars = grid.bars(duration)
    assert grid.duration(bars) >= duration > grid.duration(bars - 1)
    assert grid.bars(grid.duration(bars)) == bars
    assert Grid.of(grid.step) == grid


@pytest.mark.parametrize("bar", bar_names())
def test_every_bar_has_defaults_that_hold_together(bar: str) -> None:
    experiment = load_experiment(overrides={"grid": {"bar": bar}})
    assert experiment.grid.bar == experiment.candle_grid.bar == bar
    assert experiment.portfolio.rebalance_every % experiment.grid.hours_per_bar == 0 or experiment.grid.hours_per_bar < 1
    assert max(experiment.labels.horizons) <= experiment.training.embargo or bar in ("15m", "30m", "1h")
    for section, knobs in BAR_DEFAULTS[bar].items():
        for knob, value in knobs.items():
            assert getattr(getattr(experiment, section), knob) == value


def test_an_hour_is_the_default_and_changes_none() -> None:
    assert load_experiment(overrides={"grid": {"bar": "1h"}}) == Experiment()
    assert BAR_DEFAULTS["1h"] == {}


def test_what_a_file_names_is_never_touched() -> None:
    named = load_experiment(overrides={"grid": {"bar": "1m"}, "model": {"max_lag": 30}, "retrain": {"every_days": 28}})
    assert (named.model.max_lag, named.retrain.every_days) == (30, 28)
    assert named.model.lookback == BAR_DEFAULTS["1m"]["model"]["lookback"]


def test_a_selection_of_symbols_keeps_the_bar_and_its_knobs() -> None:
    whole = load_experiment(overrides={"grid": {"bar": "5m"}, "labels": {"horizons": [1, 3], "trade_horizon": 3}})
    chosen = whole.select(("BTCUSDT", "ETHUSDT"))
    assert (chosen.grid, chosen.labels, chosen.model) == (whole.grid, whole.labels, whole.model)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"grid": {"bar": "2h"}}, "'1m', '3m', '5m'"),
        ({"grid": {"bars": "1h"}}, "did you mean 'bar'"),
        ({"grid": {"bar": "1d"}, "portfolio": {"decision_hour": 15}}, "decision_hour 15 is no multiple of the bar"),
        ({"grid": {"bar": "4h"}, "portfolio": {"rebalance_every": 6}}, "rebalance_every 6 is no multiple of the bar"),
        ({"feed": {"interval": "4h"}}, "feed.interval 4h does not divide grid.bar 1h"),
        ({"grid": {"bar": "5m"}, "feed": {"interval": "3m"}}, "feed.interval 3m does not divide grid.bar 5m"),
        ({"labels": {"max_exit_delay": 10}}, "is called 'max_exit_delay_hours' now"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_with_the_reason(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message.replace("(", r"\(")):
        load_experiment(overrides=overrides)


def test_the_bar_is_part_of_the_hash_and_of_the_homes_identity(tmp_path) -> None:
    hourly, minutes = load_experiment(), load_experiment(overrides={"grid": {"bar": "5m"}})
    assert hourly.content_hash() != minutes.content_hash()
    assert knob_values(minutes, ("grid.bar",)) == {"grid.bar": "5m"}
    open_home(tmp_path / "home", minutes)
    open_home(tmp_path / "home", minutes)
    with pytest.raises(HomeError, match="bar: here '5m', experiment '1h'"):
        open_home(tmp_path / "home", hourly)
