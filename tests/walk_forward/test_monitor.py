"""What is watched: the outlook before the walk, the rolling IC, and which days are missing."""

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.home import Home
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.labels import compute_labels
from crossattn_core.walk_forward.monitor import BASELINE_SIGNAL, freshness, outlook, rolling_ic
from crossattn_core.walk_forward.overrides import Override, record_override
from crossattn_core.walk_forward.store import read_forecasts, read_plan
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel

DAYS = 45
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
EXPERIMENT = rolling_experiment()
PANEL = synthetic_panel(DAYS, leads=((0, 1, 2, 0.5),))


def _walk(home: Home, last: date = LAST):
    return list(walk(home, EXPERIMENT, PANEL, FIRST_DAY, last, fit=FakeFit(), load=fake_load))


def _until(day: date):
    """The panel as it was when ``day`` was the newest complete day."""
    rows = ((day - FIRST_DAY).days + 1) * 24
    return dataclasses.replace(PANEL.until(rows), content_hash=f"until {day}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("monitor"))
    _walk(home)
    return home


def test_before_the_walk_the_outlook_of_each_day_is_what_the_plan_then_records(tmp_path: Path) -> None:
    home, decided = Home(tmp_path), set()
    record_override(home, Override(FIRST_DAY + timedelta(days=31), "forced", "new costs"))
    for offset in range(DAYS):
        day = FIRST_DAY + timedelta(days=offset)
        seen = outlook(home, EXPERIMENT, _until(day), [day])
        _walk(home, day)
        row = read_plan(home, day, day).iloc[0]
        assert seen is not None
        assert (seen.day, seen.due) == (day, (day,))
        assert (seen.decision.action, seen.decision.reason, seen.decision.why) == (row["action"], row["reason"], row["why"])
        np.testing.assert_array_equal([seen.drift, seen.ic_gap], row[["drift", "ic_gap"]].to_numpy(dtype=float))
        assert (seen.regime == "unknown") == (row["regime"] < 0)
        decided.add(seen.decision.reason)
    assert {"history", "first", "forced", "none"} <= decided


def test_after_the_walk_the_outlook_is_what_was_recorded(home: Home) -> None:
    seen, row = outlook(home, EXPERIMENT, PANEL, []), read_plan(home, LAST, LAST).iloc[0]
    assert seen is not None
    assert (seen.day, seen.due) == (LAST, ())
    assert (seen.decision.action, seen.decision.reason, seen.decision.why) == (row["action"], row["reason"], row["why"])


def test_a_day_behind_stale_ones_is_not_planned_from_a_state_that_does_not_exist(home: Home) -> None:
    due = [LAST - timedelta(days=back) for back in (3, 2, 1, 0)]
    seen = outlook(home, EXPERIMENT, PANEL, due)
    assert seen is not None
    assert (seen.decision.action, seen.decision.reason) == ("wait", "none")
    assert seen.decision.why == f"3 days before {LAST} are to be stepped first, from {due[0]}"
    assert seen.due == tuple(due)
    assert np.isnan(seen.drift)


def test_a_panel_without_a_complete_day_has_no_outlook_and_no_rolling_ic(tmp_path: Path) -> None:
    panel = PANEL.until(7)
    assert outlook(Home(tmp_path), EXPERIMENT, panel, []) is None
    assert rolling_ic(Home(tmp_path), EXPERIMENT, panel).empty


def test_days_after_the_panel_are_not_due(home: Home) -> None:
    seen = outlook(home, EXPERIMENT, PANEL, [LAST + timedelta(days=1)])
    assert seen is not None
    assert seen.due == ()


def _oracle(signal_TN: np.ndarray, day: date) -> float:
    """IC by hand: pairs whose label ended in the window of days that ends with ``day``, correlated asset by asset."""
    labels = compute_labels(PANEL, EXPERIMENT.labels)
    h = EXPERIMENT.labels.horizons.index(EXPERIMENT.labels.trade_horizon)
    first = day - timedelta(days=EXPERIMENT.retrain.degraded_days - 1)
    correlations = []
    for n in range(signal_TN.shape[1]):
        pairs = []
        for t, end in enumerate(labels.end_TNH[:, n, h]):
            if end < 0 or not np.isfinite(signal_TN[t, n]):
                continue
            ended = (pd.Timestamp(PANEL.as_of_T[end]) - pd.Timedelta("1us")).date()
            if first <= ended <= day:
                pairs.append((float(signal_TN[t, n]), float(labels.value_TNH[t, n, h])))
        if len(pairs) >= 48:
            correlations.append(np.corrcoef(np.array(pairs).T)[0, 1])
    return float(np.mean(correlations)) if correlations else float("nan")


def test_the_rolling_ic_is_that_of_the_pairs_realised_in_the_window(home: Home) -> None:
    ic_DF = rolling_ic(home, EXPERIMENT, PANEL)
    assert list(ic_DF.columns) == ["attention", "ridge_var", BASELINE_SIGNAL]
    assert list(ic_DF.index.date) == [FIRST_DAY + timedelta(days=offset) for offset in range(DAYS)]
    forecasts = read_forecasts(home, FIRST_DAY, LAST)
    hours = EXPERIMENT.baselines.momentum_hours
    signals = {
        "attention": forecast_array(forecasts, PANEL, "attention", EXPERIMENT.labels.trade_horizon),
        BASELINE_SIGNAL: np.full(PANEL.mark_price_TN.shape, np.nan),
    }
    signals[BASELINE_SIGNAL][hours:] = np.log(PANEL.mark_price_TN[hours:] / PANEL.mark_price_TN[:-hours])
    for name, signal_TN in signals.items():
        for day in (FIRST_DAY + timedelta(days=12), FIRST_DAY + timedelta(days=26), LAST):
            expected = _oracle(signal_TN, day)
            np.testing.assert_allclose(ic_DF.loc[pd.Timestamp(day), name], expected, atol=1e-9, err_msg=f"{name} {day}")
    assert np.isnan(ic_DF["attention"].iloc[12])
    assert np.isfinite(ic_DF.iloc[-1]).all()


def test_the_rolling_ic_of_a_day_does_not_move_when_later_days_arrive(home: Home) -> None:
    day = LAST - timedelta(days=6)
    whole, then = rolling_ic(home, EXPERIMENT, PANEL), rolling_ic(home, EXPERIMENT, _until(day))
    pd.testing.assert_frame_equal(whole[: pd.Timestamp(day)], then, check_exact=True, check_freq=False)


@pytest.mark.parametrize(
    ("missing", "is_fresh"),
    [((), True), ((2, 3), True), ((9,), False), (tuple(range(10)), False)],
    ids=["all there", "a hole in the middle", "the newest is missing", "none there"],
)
def test_freshness_counts_the_days_that_are_missing_and_asks_for_the_newest(missing: tuple[int, ...], is_fresh: bool) -> None:
    days = [FIRST_DAY + timedelta(days=offset) for offset in range(10)]
    present = {day for offset, day in enumerate(days) if offset not in missing}
    held = freshness(days[0], days[-1], present)
    assert held.missing == tuple(days[offset] for offset in missing)
    assert held.newest == max(present, default=None)
    assert held.is_fresh == is_fresh
