"""The walk-forward is causal, replayable and resumable."""

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.errors import HistoryError, TrainingError
from crossattn_core.home import Home
from crossattn_core.walk_forward.monitor import outlook
from crossattn_core.walk_forward.overrides import Override, next_day, record_override
from crossattn_core.walk_forward.store import predictions_path, read_day, read_forecasts, read_plan, write_day
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, FakeModel, fake_load, rolling_experiment, synthetic_panel

DAYS = 60
LAST = FIRST_DAY + timedelta(days=DAYS - 1)


def _stored(home: Home) -> dict[str, bytes]:
    folder = home.walk_forward
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _walk(home: Home, panel, experiment=None, last=LAST, fit=None, first=FIRST_DAY):
    return list(walk(home, experiment or rolling_experiment(), panel, first, last, fit=fit or FakeFit(), load=fake_load))


def test_a_backfill_equals_day_by_day_steps_on_growing_panels_bit_for_bit(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS)
    _walk(Home(tmp_path / "backfill"), panel)
    live = Home(tmp_path / "live")
    for offset in range(DAYS):
        grown = dataclasses.replace(panel.until((offset + 1) * 24), content_hash=f"grown to {offset}")
        day = FIRST_DAY + timedelta(days=offset)
        _walk(live, grown, first=day, last=day)
    assert _stored(live) == _stored(Home(tmp_path / "backfill"))


def test_a_walk_that_was_stopped_goes_on_where_it_stopped(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS)
    _walk(Home(tmp_path / "whole"), panel)
    home = Home(tmp_path / "stopped")
    walker = walk(home, rolling_experiment(), panel, FIRST_DAY, LAST, fit=FakeFit(), load=fake_load)
    for _ in range(33):
        next(walker)
    walker.close()
    results = _walk(home, panel)
    assert [result.reused for result in results] == [True] * 33 + [False] * (DAYS - 33)
    assert _stored(home) == _stored(Home(tmp_path / "whole"))


def test_a_second_walk_fits_nothing(tmp_path: Path) -> None:
    panel, fit = synthetic_panel(DAYS), FakeFit()
    _walk(Home(tmp_path), panel)
    assert all(result.reused for result in _walk(Home(tmp_path), panel, fit=fit))
    assert fit.requests == []


def test_rewriting_the_future_moves_no_plan_and_no_forecast(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS)
    cut = 45 * 24
    rewritten = synthetic_panel(DAYS, seed=99)
    mixed = {
        name: np.concatenate([getattr(panel, name)[:cut], getattr(rewritten, name)[cut:]])
        for name in ("feature_TNF", "trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN")
    }
    _walk(Home(tmp_path / "truth"), panel)
    _walk(Home(tmp_path / "rewritten"), dataclasses.replace(panel, **mixed))
    last_kept = FIRST_DAY + timedelta(days=44)
    kept = [
        {name: content for name, content in _stored(Home(tmp_path / which)).items() if Path(name).stem <= str(last_kept)}
        for which in ("truth", "rewritten")
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2 * 45


def test_a_changed_past_steps_only_the_days_that_follow_it(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS)
    _walk(Home(tmp_path), panel)
    price_TN = panel.trade_price_TN.copy()
    price_TN[40 * 24 + 5] *= 1.001
    results = _walk(Home(tmp_path), dataclasses.replace(panel, trade_price_TN=price_TN))
    assert [result.reused for result in results] == [True] * 40 + [False] * (DAYS - 40)


def test_no_fit_sees_a_row_after_the_start_of_its_day(tmp_path: Path) -> None:
    fit = FakeFit()
    results = _walk(Home(tmp_path), synthetic_panel(DAYS), fit=fit)
    days = [result.day for result in results if result.trained for _ in result.trained]
    assert len(days) == len(fit.requests) > 4
    for day, (_, request) in zip(days, fit.requests, strict=True):
        assert request.panel.as_of_T[-1] == np.datetime64(day)


def test_a_day_is_forecast_by_the_model_in_force_at_its_start_for_every_row(tmp_path: Path) -> None:
    home, panel = Home(tmp_path), synthetic_panel(DAYS, closed_share=0.0)
    _walk(home, panel)
    plan, forecasts = read_plan(home), read_forecasts(home, FIRST_DAY, LAST)
    served = plan[plan["model_id"] != ""]
    assert len(forecasts) == len(served) * 24 * 4 * 2
    day = (forecasts["as_of"] - pd.Timedelta(1, "us")).dt.normalize()
    joined = forecasts.assign(day=day).merge(plan, on=["day", "family"], suffixes=("", "_plan"))
    assert (joined["model_id"] == joined["model_id_plan"]).all()
    assert (joined["cut_off"] <= joined["day"]).all()


def test_the_plan_says_first_then_scheduled_and_never_retrains_within_the_cool_down(tmp_path: Path) -> None:
    _walk(Home(tmp_path), synthetic_panel(DAYS))
    plan = read_plan(Home(tmp_path))
    retrains = plan[(plan["action"] == "retrain") & (plan["family"] == "attention")]
    assert retrains["reason"].iloc[0] == "first"
    assert retrains["day"].iloc[0] == pd.Timestamp(FIRST_DAY + timedelta(days=20))
    assert retrains["day"].diff().dropna().min() >= pd.Timedelta(3, "D")
    assert retrains["day"].diff().dropna().max() <= pd.Timedelta(7, "D")


def test_both_families_retrain_on_the_same_plan(tmp_path: Path) -> None:
    _walk(Home(tmp_path), synthetic_panel(DAYS))
    plan = read_plan(Home(tmp_path))
    by_family = {family: rows.set_index("day")["reason"] for family, rows in plan.groupby("family")}
    pd.testing.assert_series_equal(by_family["attention"], by_family["ridge_var"])


def test_warm_starts_follow_the_predecessor_and_every_nth_model_starts_cold(tmp_path: Path) -> None:
    fit = FakeFit()
    _walk(Home(tmp_path), synthetic_panel(DAYS), rolling_experiment(cold_every=3), fit=fit)
    warm = [request.warm_from is not None for family, request in fit.requests if family == "attention"]
    assert warm == [number % 3 != 0 for number in range(len(warm))]


def test_a_forced_retrain_is_a_dated_override_that_a_later_walk_replays(tmp_path: Path) -> None:
    home, panel, day = Home(tmp_path), synthetic_panel(DAYS), FIRST_DAY + timedelta(days=29)
    _walk(home, panel)
    record_override(home, Override(day, "forced", "new costs"))
    results = _walk(home, panel)
    assert next(result for result in results if not result.reused).day == day
    row = read_plan(home, day, day).iloc[0]
    assert (row["action"], row["reason"], row["why"]) == ("retrain", "forced", "new costs")


def test_a_rollback_serves_the_model_before_from_its_day_on(tmp_path: Path) -> None:
    home, panel, day = Home(tmp_path), synthetic_panel(DAYS), FIRST_DAY + timedelta(days=44)
    _walk(home, panel, rolling_experiment(on_drift=False, on_degraded=False, on_regime_change=False))
    plan = read_plan(home)
    ids = list(dict.fromkeys(plan[(plan["family"] == "attention") & (plan["day"] <= pd.Timestamp(day))]["model_id"]))
    record_override(home, Override(day, "rollback", "bad week", family="attention"))
    _walk(home, panel, rolling_experiment(on_drift=False, on_degraded=False, on_regime_change=False))
    after = read_plan(home, day, day).set_index("family")
    assert after.loc["attention", "reason"] == "rollback"
    assert after.loc["attention", "model_id"] == ids[-2]
    assert (
        after.loc["ridge_var", "model_id"]
        == plan[(plan["day"] == pd.Timestamp(day))].set_index("family").loc["ridge_var", "model_id"]
    )


def test_an_unhealthy_model_never_serves(tmp_path: Path) -> None:
    class Sick(FakeFit):
        def __call__(self, family, request, experiment, *, report):
            model = super().__call__(family, request, experiment, report=report)
            if len(self.requests) == 3:
                return FakeModel(family, model.manifest | {"slope_H": [float("inf")] * 2})
            if len(self.requests) == 5:
                raise TrainingError("loss is nan in batch 3")
            return model

    _walk(Home(tmp_path), synthetic_panel(DAYS), fit=Sick())
    plan = read_plan(Home(tmp_path))
    rows = plan[(plan["action"] == "retrain") & (plan["family"] == "attention")]
    assert rows["healthy"].tolist()[:3] == [True, False, False]
    assert (rows["model_id"].iloc[1], rows["model_id"].iloc[2]) == (rows["model_id"].iloc[0],) * 2
    assert rows["trained_id"].iloc[1] != rows["model_id"].iloc[1]
    assert "nan in batch 3" in rows["health"].iloc[2]


def test_a_model_fitted_while_features_drift_beyond_bounds_never_serves_and_the_last_healthy_one_does(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS)
    feature_TNF = np.array(panel.feature_TNF)
    feature_TNF[40 * 24 :, :, 1] += 20.0  # a third of the rows at the end: far outside every decile of the rest
    moved = dataclasses.replace(panel, feature_TNF=feature_TNF, content_hash="moved")
    _walk(Home(tmp_path), moved, rolling_experiment(max_drift_served=0.5, on_degraded=False))
    plan = read_plan(Home(tmp_path))
    rows = plan[plan["action"] == "retrain"]
    before = rows["day"] < pd.Timestamp(FIRST_DAY + timedelta(days=40))
    drifted = rows[rows["health"].str.startswith("features drifted beyond bounds")]
    assert rows.loc[before, "healthy"].all()
    assert set(drifted["family"]) == {"attention", "ridge_var"}
    for family, refused in drifted.groupby("family"):
        last_healthy = rows[(rows["family"] == family) & rows["healthy"] & (rows["day"] < refused["day"].iloc[0])]
        assert refused["model_id"].iloc[0] == last_healthy["trained_id"].iloc[-1] != refused["trained_id"].iloc[0]


def test_a_missing_predictions_file_is_made_again_without_a_new_fit(tmp_path: Path) -> None:
    home, panel, fit = Home(tmp_path), synthetic_panel(DAYS), FakeFit()
    _walk(home, panel)
    before = _stored(home)
    predictions_path(home, LAST).unlink()
    _walk(home, panel, fit=fit)
    assert _stored(home) == before
    assert fit.requests == []


def test_a_day_that_is_not_over_is_forecast_so_far_and_completed_later(tmp_path: Path) -> None:
    panel = synthetic_panel(DAYS, closed_share=0.0)
    part = dataclasses.replace(panel.until(DAYS * 24 - 9), content_hash="part")
    home = Home(tmp_path / "live")
    _walk(home, part, first=LAST)
    assert read_forecasts(home, LAST, LAST)["as_of"].nunique() == 15
    fit = FakeFit()
    _walk(home, panel, first=LAST, fit=fit)
    _walk(Home(tmp_path / "whole"), panel)
    assert fit.requests == []
    assert _stored(home) == _stored(Home(tmp_path / "whole"))


def test_days_outside_the_panel_are_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"2025-01-01 \.\. 2025-01-30"):
        _walk(Home(tmp_path), synthetic_panel(30), last=date(2025, 2, 1))


def test_days_left_by_other_settings_are_not_read(tmp_path: Path) -> None:
    home, panel = Home(tmp_path), synthetic_panel(DAYS)
    _walk(home, panel)
    half = FIRST_DAY + timedelta(days=30)
    _walk(home, panel, rolling_experiment(every_days=5), last=half)
    assert read_plan(home)["day"].max() == pd.Timestamp(half)
    assert read_forecasts(home, FIRST_DAY, LAST)["as_of"].max() == pd.Timestamp(half + timedelta(days=1))
    assert not predictions_path(home, LAST).exists()


def test_other_code_steps_every_day_again_and_the_same_or_accepted_code_none(tmp_path: Path) -> None:
    home, panel = Home(tmp_path), synthetic_panel(30)

    def reused(*codes: str) -> list[bool]:
        days = (FIRST_DAY, FIRST_DAY + timedelta(days=29))
        results = walk(home, rolling_experiment(), panel, *days, fit=FakeFit(), load=fake_load, codes=codes)
        return [result.reused for result in results]

    assert reused("a") == [False] * 30
    assert reused("a") == [True] * 30
    assert reused("b", "a") == [True] * 30, "b was accepted as giving what a gives"
    assert reused("b") == [False] * 30


def test_a_period_that_ends_later_or_another_name_steps_no_day_again(tmp_path: Path) -> None:
    home, panel, experiment = Home(tmp_path), synthetic_panel(30), rolling_experiment()
    last = FIRST_DAY + timedelta(days=29)
    _walk(home, panel, experiment, last)
    period = experiment.period.model_copy(update={"end": date(2026, 1, 1)})
    longer = experiment.model_copy(update={"name": "other", "period": period})
    assert all(result.reused for result in _walk(home, panel, longer, last))


def test_a_home_of_an_earlier_layout_is_read_as_far_as_it_goes_and_stepped_again(tmp_path: Path) -> None:
    panel, last = synthetic_panel(30), FIRST_DAY + timedelta(days=29)
    _walk(Home(tmp_path / "new"), panel, last=last)
    home = Home(tmp_path / "old")
    before = ""
    for day in (FIRST_DAY + timedelta(days=offset) for offset in range(30)):
        record = read_day(Home(tmp_path / "new"), day)
        assert record is not None
        record |= {"model_inputs": "of an earlier layout", "previous_hash": before, "plan_hash": f"earlier {day}"}
        before = record["plan_hash"]
        write_day(home, day, record)
        for folder in ("forecasts", "wanted"):
            (home.walk_forward / folder).mkdir(exist_ok=True)
            (home.walk_forward / folder / f"{day}.parquet").write_bytes(b"what the earlier layout kept")
    assert read_plan(home)["day"].max() == pd.Timestamp(last)
    assert read_forecasts(home, FIRST_DAY, last).empty
    assert outlook(home, rolling_experiment(), panel, []) is not None
    assert next_day(home, rolling_experiment()) == last + timedelta(days=1)
    assert not any(result.reused for result in _walk(home, panel, last=last))
    assert _stored(home) == _stored(Home(tmp_path / "new"))
