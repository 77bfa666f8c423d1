"""Weights that are no longer kept: days stay as they are, and a day that needs such a model fits it again, bit for bit."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.families.checkpoint import has_weights, weights_path
from crossattn_core.home import Home
from crossattn_core.walk_forward.lookahead_checks import check_no_forecast_saw_its_label, replayable_days
from crossattn_core.walk_forward.overrides import Override, record_override
from crossattn_core.walk_forward.store import read_plan, read_predictions
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel

DAYS = 60
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
PANEL = synthetic_panel(DAYS)


def walked(home: Home, fit: FakeFit | None = None, panel=PANEL, **more):
    return list(walk(home, rolling_experiment(), panel, FIRST_DAY, LAST, fit=fit or FakeFit(), load=fake_load, **more))


def stored(home: Home) -> dict[str, bytes]:
    folders = (home.walk_forward, home.models)
    return {str(p.relative_to(home.root)): p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


def forget_weights(home: Home) -> list[str]:
    """Drop the weights of every model but the newest in force."""
    newest = set(read_plan(home)["model_id"].iloc[-2:])
    gone = [folder.name for folder in home.models.iterdir() if folder.name not in newest]
    for name in gone:
        weights_path(home.models / name).unlink()
    return gone


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    walked(home)
    return home


def test_a_walk_over_days_whose_weights_are_gone_reuses_every_day(home: Home) -> None:
    assert len(forget_weights(home)) > 2
    fit = FakeFit()
    assert all(result.reused for result in walked(home, fit))
    assert fit.requests == []


def test_a_refit_ends_in_the_bits_that_were_there(home: Home) -> None:
    before = stored(home)
    gone = forget_weights(home)
    walked(home, refit=True)
    assert all(has_weights(home.models / name) for name in gone)
    assert stored(home) == before


def test_a_candle_that_is_revised_before_the_kept_days_ends_where_a_walk_that_kept_all_does(home: Home, tmp_path: Path) -> None:
    feature_TNF = np.array(PANEL.feature_TNF)
    feature_TNF[24 * 40 + 5] += 0.25
    revised = dataclasses.replace(PANEL, feature_TNF=feature_TNF, content_hash="revised")
    forget_weights(home)
    results = walked(home, panel=revised)
    whole = Home(tmp_path / "whole")
    walked(whole, panel=revised)
    assert len(results) == DAYS
    expected = stored(whole)
    assert {name: content for name, content in stored(home).items() if name in expected} == expected


def test_a_rollback_to_a_model_whose_weights_are_gone_fits_it_again(home: Home) -> None:
    plan = read_plan(home)
    first = plan[plan["family"] == "attention"]["trained_id"]
    earlier = next(name for name in first if name)
    forget_weights(home)
    record_override(home, Override(LAST - timedelta(days=1), "rollback", "as it was", "attention", earlier))
    walked(home)
    plan = read_plan(home)
    assert plan[(plan["family"] == "attention")]["model_id"].iloc[-2] == earlier
    assert has_weights(home.models / earlier)


def test_proofs_take_cut_offs_from_manifests_and_replay_only_what_can_be_loaded(home: Home) -> None:
    forget_weights(home)
    predictions = read_predictions(home, FIRST_DAY, LAST)
    days = replayable_days(home, predictions)
    assert 0 < len(days) < predictions["as_of"].dt.date.nunique()
    assert days[-1] == LAST
    with pytest.MonkeyPatch.context() as patch:
        manifests = "crossattn_core.walk_forward.lookahead_checks.read_manifest"
        patch.setattr(manifests, lambda folder: {"cut_off": str(np.datetime64(FIRST_DAY))})
        faults = check_no_forecast_saw_its_label(home, rolling_experiment(), PANEL, load=fake_load)
    assert faults.empty
