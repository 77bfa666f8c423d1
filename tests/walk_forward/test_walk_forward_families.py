"""The real families through the walk: same bits by backfill and by the day, and no leak."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.model_stages import snapshot_day
from crossattn_core.walk_forward.lookahead_checks import check_no_forecast_saw_its_label
from crossattn_core.walk_forward.store import read_forecasts, read_plan
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, rolling_experiment, synthetic_panel

DAYS = 32
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
LEADS = ((0, 1, 2, 0.5), (0, 2, 3, 0.5))


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory):
    home, panel = Home(tmp_path_factory.mktemp("families")), synthetic_panel(DAYS, leads=LEADS)
    results = list(walk(home, rolling_experiment(every_days=5), panel, FIRST_DAY, LAST))
    return home, panel, results


def test_live_days_on_growing_panels_give_the_bits_of_the_backfill(walked, tmp_path: Path) -> None:
    home, panel, _ = walked
    live = Home(tmp_path)
    experiment = rolling_experiment(every_days=5)
    half = dataclasses.replace(panel.until(22 * 24), content_hash="half")
    list(walk(live, experiment, half, FIRST_DAY, FIRST_DAY + timedelta(days=21)))
    for offset in range(22, DAYS):
        grown = dataclasses.replace(panel.until((offset + 1) * 24), content_hash=f"grown {offset}")
        day = FIRST_DAY + timedelta(days=offset)
        list(walk(live, experiment, grown, day, day))

    def stored(of: Home) -> dict[str, bytes]:
        files = [path for folder in (of.walk_forward, of.models) for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(of.root)): path.read_bytes() for path in files}

    assert stored(live) == stored(home)


def test_models_are_retrained_warm_and_say_what_they_were_made_from(walked) -> None:
    home, _, results = walked
    retrained = [result for result in results if result.trained]
    assert len(retrained) >= 3
    assert all(result.epochs["attention"] for result in retrained)
    plan = read_plan(home)
    second = plan[(plan["trained_id"] != "") & (plan["family"] == "attention")].iloc[1]
    assert second["parent_id"] == retrained[0].trained["attention"]["model_id"]
    assert second["cut_off"] == second["day"]
    assert np.isfinite(second["validation_loss"])


def test_no_stored_forecast_saw_its_label(walked) -> None:
    home, panel, _ = walked
    assert len(read_forecasts(home, FIRST_DAY, LAST)) > 1000
    assert check_no_forecast_saw_its_label(home, rolling_experiment(every_days=5), panel).empty


def test_rewriting_the_days_after_a_forecast_leaves_it_as_it_is(walked) -> None:
    home, panel, _ = walked
    experiment = rolling_experiment(every_days=5)
    day = FIRST_DAY + timedelta(days=26)
    rows = np.arange(26 * 24, 27 * 24)
    other = synthetic_panel(DAYS, seed=77)
    rewritten = {
        name: np.concatenate([getattr(panel, name)[: 27 * 24], getattr(other, name)[27 * 24 :]])
        for name in ("feature_TNF", "trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN")
    }
    mixed = dataclasses.replace(panel, **rewritten)
    for _, row in read_plan(home, day, day).iterrows():
        model = load_model(home.models / row["model_id"], experiment)
        np.testing.assert_array_equal(model.forecast(panel, rows), model.forecast(mixed, rows), err_msg=row["family"])


def test_the_snapshot_is_the_attention_of_the_model_in_force(walked) -> None:
    home, panel, _ = walked
    snapshot = snapshot_day(home, rolling_experiment(every_days=5), panel, LAST)
    plan = read_plan(home, LAST, LAST).set_index("family")
    assert snapshot.model_id == plan.loc["attention", "model_id"]
    np.testing.assert_allclose(snapshot.edge_NM.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(np.diag(snapshot.edge_NM), 0.0)
