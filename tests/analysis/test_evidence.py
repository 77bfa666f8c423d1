"""Views and statistics side by side, once a model, from nothing that lies after the day."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core.analysis.evidence import (
    AGREEMENT_COLUMNS,
    EVIDENCE_COLUMNS,
    STATISTICS,
    VIEWS,
    pair_evidence,
    sampled_rows,
)
from crossattn_core.analysis.evidence_writer import EvidenceWriter
from crossattn_core.analysis.snapshot_store import read_attention
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model
from crossattn_core.home import Home
from crossattn_core.model_stages import snapshot_day
from crossattn_core.walk_forward.store import read_plan
from crossattn_core.walk_forward.walk import walk
from tests.compute.pools import PretendPool
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel

LEADS = ((0, 1, 2, 0.8), (0, 2, 4, 0.8), (0, 3, 1, 0.8))
DAY = FIRST_DAY + timedelta(days=99)


@pytest.fixture(scope="module")
def trained():
    panel = synthetic_panel(100, leads=LEADS)
    experiment = rolling_experiment()
    training = experiment.training.model_copy(update={"epochs": 8, "learning_rate": 3e-3})
    experiment = experiment.model_copy(update={"training": training})
    cut_off = 90 * 24 - 1
    request = FitRequest(panel.until(cut_off + 1), cut_off, np.ones(cut_off + 1, dtype=np.float32), seed=1)
    return fit_model("attention", request, experiment), panel, experiment


def _evidence(model, panel, experiment):
    return pair_evidence(model, panel, DAY, experiment.analysis, lookback=experiment.model.lookback)


def test_every_view_and_statistic_finds_the_planted_pairs_and_their_lags(trained) -> None:
    model, panel, experiment = trained
    pairs = _evidence(model, panel, experiment).pairs
    assert tuple(pairs.columns) == EVIDENCE_COLUMNS
    assert len(pairs) == 12
    assert np.allclose(pairs.groupby("follower")[list(VIEWS)].sum(), 1, atol=1e-5)
    ids = panel.asset_ids
    planted = pairs.set_index(["leader", "follower"]).loc[[(ids[0], ids[n]) for n in (1, 2, 3)]]
    assert (planted[list(VIEWS)] > 1 / 3).all(axis=None)
    for lag in ("attention_lag", "gradient_lag", "correlation_lag", "hy_lag"):
        assert planted[lag].tolist() == [2, 4, 1], lag
    assert (planted[["correlation_q", "granger_q", "hy_q"]] < 0.05).all(axis=None)


def test_agreement_is_measured_between_all_views_and_statistics(trained) -> None:
    model, panel, experiment = trained
    agreed = _evidence(model, panel, experiment).agreement
    assert tuple(agreed.columns) == AGREEMENT_COLUMNS
    names = (*VIEWS, *STATISTICS)
    assert len(agreed) == len(names) * (len(names) - 1) // 2
    assert set(agreed["first_view"]) | set(agreed["second_view"]) == set(names)
    views = agreed[agreed["first_view"].isin(VIEWS) & agreed["second_view"].isin(VIEWS)]
    assert (views["rank_correlation"] > 0.3).all()


def test_evidence_reads_nothing_after_the_last_row_of_its_panel(trained) -> None:
    model, panel, experiment = trained
    stop = 95 * 24
    future = dataclasses.replace(
        panel,
        **{
            name: np.concatenate([getattr(panel, name)[:stop], getattr(panel, name)[stop:][::-1]])
            for name in ("feature_TNF", "trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN")
        },
    )
    first, second = (_evidence(model, of.until(stop), experiment) for of in (panel, future))
    assert first.pairs.equals(second.pairs)
    assert first.agreement.equals(second.agreement)


def test_evidence_that_a_pool_makes_is_that_made_here(trained, tmp_path: Path) -> None:
    model, panel, experiment = trained
    days, pool = [DAY - timedelta(days=7), DAY], PretendPool()
    for folder, workers in (("here", None), ("pool", pool)):
        writer = EvidenceWriter(tmp_path / folder, experiment, panel, workers)
        for day in days:
            writer.add(model, day)
        writer.finish()
    stored = {
        folder: {str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in (tmp_path / folder).rglob("*.parquet")}
        for folder in ("here", "pool")
    }
    assert stored["pool"] == stored["here"]
    assert len(stored["here"]) >= len(days)
    assert (len(pool.submitted), pool.shared) == (2, 2)


def test_a_family_without_a_network_has_no_gradient_and_one_without_attention_no_evidence(trained) -> None:
    _, panel, experiment = trained
    cut_off = 90 * 24 - 1
    request = FitRequest(panel.until(cut_off + 1), cut_off, np.ones(cut_off + 1, dtype=np.float32), seed=1)
    assert _evidence(fit_model("ridge_var", request, experiment), panel, experiment) is None


@pytest.mark.parametrize(("bars", "weeks"), [(16, 0), (24 * 28 + 20, 0), (24 * 35 + 16, 1), (24 * 200, 4)])
def test_sampled_rows_lie_behind_the_lookback_and_before_the_end(bars: int, weeks: int) -> None:
    rows, back = sampled_rows(bars, 16, 168)
    assert back == weeks
    assert rows[0] >= max(15, bars - 24 * 28)
    assert rows[-1] == bars - 1
    assert rows[0] - 15 - back * 168 >= 0
    assert len(sampled_rows(10, 16, 168)[0]) == 0


def test_evidence_is_stored_on_the_first_day_of_each_model_only(tmp_path: Path) -> None:
    home, panel = Home(tmp_path), synthetic_panel(40)
    last = FIRST_DAY + timedelta(days=37)
    experiment = rolling_experiment()
    list(walk(home, experiment, panel, FIRST_DAY, last, fit=FakeFit(), load=fake_load))
    for offset in range(18):
        snapshot_day(home, experiment, panel, last - timedelta(days=offset), load=fake_load)
    plan = read_plan(home, FIRST_DAY, last).query("family == 'attention'")
    changed = plan[(plan["model_id"] != plan["model_id"].shift()) & (plan["model_id"] != "")]
    stored = sorted(path.stem for path in (home.attention / "evidence").glob("*.parquet"))
    assert stored == [str(day)[:10] for day in changed["day"]]
    assert len(stored) > 1
    newest = read_attention(home.attention, last, 1, panel.asset_ids).evidence
    assert set(newest["model_id"]) == {plan["model_id"].iloc[-1]}
    assert newest["gradient"].isna().all()  # the fake has no network
    assert (
        str(read_attention(home.attention, last - timedelta(days=8), 1, panel.asset_ids).agreement["day"].iloc[0])[:10]
        == stored[-2]
    )
