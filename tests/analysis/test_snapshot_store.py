"""Snapshots hold what the forecast used, small and tidy."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.snapshot import QUANTITIES, SNAPSHOT_COLUMNS, own_share, summarise
from crossattn_core.analysis.snapshot_store import read_attention, snapshots_from_previous
from crossattn_core.analysis.stored_edges import attention_by_day
from crossattn_core.errors import HistoryError
from crossattn_core.families.fitted import AttentionWeights, FitRequest, FittedModel
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.model_stages import snapshot_day
from crossattn_core.walk_forward.store import read_plan
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, FakeModel, fake_load, rolling_experiment, synthetic_panel

NAMES = ("a", "b", "c", "d")
DAY = FIRST_DAY + timedelta(days=29)


def _weights(seed: int = 0, rows: int = 24, heads: int = 2, lags: int = 6) -> AttentionWeights:
    weight_RHNML = np.random.default_rng(seed).random((rows, heads, 4, 4, lags)).astype(np.float32) ** 4
    weight_RHNML[:, :, np.arange(4), np.arange(4)] = 0
    weight_RHNML /= weight_RHNML.sum(axis=(3, 4), keepdims=True)
    return AttentionWeights(np.arange(rows), weight_RHNML, NAMES, ("all",) * heads, np.arange(1, lags + 1))


@pytest.fixture
def walked(tmp_path: Path):
    home, panel = Home(tmp_path), synthetic_panel(32)
    list(walk(home, rolling_experiment(), panel, FIRST_DAY, DAY, fit=FakeFit(), load=fake_load))
    return home, panel


def stored_snapshot(home: Home) -> pd.DataFrame:
    """The only snapshot that is stored."""
    (stored,) = snapshots_from_previous(home.attention, DAY, DAY)
    return stored


def test_each_targets_attention_sums_to_one() -> None:
    snapshot = summarise(_weights(), DAY, "m")
    np.testing.assert_allclose(snapshot.edge_NM.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(np.diag(snapshot.edge_NM), 0.0)
    assert ((snapshot.entropy_H > 0) & (snapshot.entropy_H < 1)).all()


def test_a_target_that_could_not_read_at_some_rows_is_averaged_over_the_others() -> None:
    weights = _weights()
    weights.weight_RHNML[:12, :, 1] = 0
    np.testing.assert_allclose(summarise(weights, DAY, "m").edge_NM.sum(axis=1), 1.0, atol=1e-6)
    weights.weight_RHNML[:, :, 1] = 0
    snapshot = summarise(weights, DAY, "m")
    assert snapshot.edge_NM[1].sum() == 0
    assert snapshot.follower_N[1] == 0


def test_permuting_assets_permutes_the_snapshot() -> None:
    weights, order = _weights(), np.array([2, 0, 3, 1])
    permuted = dataclasses.replace(weights, weight_RHNML=weights.weight_RHNML[:, :, order][:, :, :, order])
    before, after = summarise(weights, DAY, "m"), summarise(permuted, DAY, "m")
    np.testing.assert_allclose(after.edge_NM, before.edge_NM[order][:, order], rtol=1e-6)
    np.testing.assert_allclose(after.net_N, before.net_N[order], atol=1e-6)
    np.testing.assert_allclose(after.entropy_H, before.entropy_H, rtol=1e-6)


def test_a_source_that_all_others_read_leads_and_net_leadership_sums_to_zero() -> None:
    weights = _weights()
    weights.weight_RHNML[:, :, 1:, 0] += 3.0
    weights.weight_RHNML[:] /= weights.weight_RHNML.sum(axis=(3, 4), keepdims=True)
    snapshot = summarise(weights, DAY, "m")
    assert snapshot.net_N.argmax() == 0
    assert snapshot.received_M[0] > 2
    assert snapshot.net_N.sum() == pytest.approx(0.0, abs=1e-9)
    assert np.ptp(snapshot.follower_N) > 0.05


def test_uniform_attention_has_full_entropy_fair_shares_and_no_leader() -> None:
    weights = _weights()
    weights.weight_RHNML[:] = 1 / 18
    weights.weight_RHNML[:, :, np.arange(4), np.arange(4)] = 0
    snapshot = summarise(weights, DAY, "m")
    np.testing.assert_allclose(snapshot.entropy_H, 1.0)
    np.testing.assert_allclose(snapshot.received_M, 1.0)
    np.testing.assert_allclose(snapshot.net_N, 0.0, atol=1e-7)


def test_the_source_lag_mean_excludes_the_source_itself() -> None:
    snapshot = summarise(_weights(), DAY, "m")
    expected = snapshot.weight_NML.astype(float).sum(axis=0) / 3
    np.testing.assert_allclose(snapshot.source_lag_ML, expected)


def test_a_stored_snapshot_is_the_weights_that_the_models_forecast_used(walked) -> None:
    home, panel = walked
    snapshot = snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load)
    row = read_plan(home, DAY, DAY).query("family == 'attention'").iloc[0]
    model = fake_load(home.models / row["model_id"], rolling_experiment())
    rows = np.arange(29 * 24, 30 * 24)
    expected = model.attention(panel, rows).weight_RHNML[:, 0].mean(axis=0)
    np.testing.assert_allclose(snapshot.weight_NML, expected, rtol=1e-5)
    stored = stored_snapshot(home)
    assert tuple(stored.columns) == SNAPSHOT_COLUMNS
    assert set(stored["quantity"]) <= QUANTITIES.keys()
    assert set(stored["model_id"]) == {row["model_id"]}
    (of_day,) = attention_by_day([stored], panel.asset_ids)
    np.testing.assert_allclose(of_day.edge_NM, snapshot.edge_NM, rtol=1e-5)
    assert (stored[stored["quantity"] == "top"].groupby("target").size() <= 32).all()


def test_storing_a_snapshot_twice_gives_the_same_bytes(walked) -> None:
    home, panel = walked
    contents = []
    for _ in range(2):
        snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load)
        contents.append({path.name: path.read_bytes() for path in home.attention.rglob("*.parquet")})
    assert contents[0] == contents[1]


def test_a_snapshot_reads_nothing_after_its_day(walked) -> None:
    home, panel = walked
    before = snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load)
    after = snapshot_day(home, rolling_experiment(), panel.until(30 * 24), DAY, load=fake_load)
    np.testing.assert_array_equal(before.weight_NML, after.weight_NML)


def test_next_bar_forecasts_are_stored_beside_the_same_models_own(walked) -> None:
    home, panel = walked
    snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load)
    stored = read_attention(home.attention, DAY, 1, panel.asset_ids).next_bar
    assert stored["as_of"].min() > np.datetime64(DAY)
    assert stored["as_of"].max() == np.datetime64(DAY + timedelta(days=1))
    assert (stored["forecast"] == stored["alone"]).all()  # the fake reads nobody


def test_no_snapshot_before_the_first_model_and_an_error_before_the_walk(walked) -> None:
    home, panel = walked
    assert snapshot_day(home, rolling_experiment(), panel, FIRST_DAY, load=fake_load) is None
    with pytest.raises(HistoryError, match="has not stepped that day"):
        snapshot_day(home, rolling_experiment(), panel, DAY + timedelta(days=1), load=fake_load)


def test_a_family_without_attention_has_no_snapshot(walked, monkeypatch) -> None:
    home, panel = walked
    monkeypatch.setattr(FakeModel, "attention", lambda self, panel, rows: None)
    assert snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load) is None


def test_the_share_on_self_is_a_quantity_apart_from_the_edges(walked) -> None:
    home, panel = walked
    snapshot = snapshot_day(home, rolling_experiment(), panel, DAY, load=fake_load)
    np.testing.assert_array_equal(snapshot.own_share_N, 1.0)  # the fake's forecast is its own past's alone
    stored = stored_snapshot(home)
    assert stored[stored["quantity"] == "self"]["target"].tolist() == list(panel.asset_ids)
    (of_day,) = attention_by_day([stored], panel.asset_ids)
    np.testing.assert_allclose(of_day.edge_NM.sum(axis=1), 1.0, atol=1e-6)


def test_the_share_on_self_weighs_the_own_part_against_the_others_part() -> None:
    alone_RN = np.array([[0.1, 0.0, np.nan], [-0.2, 0.0, np.nan]])
    forecast_RN = np.array([[0.4, 0.0, np.nan], [-0.5, 0.0, np.nan]])
    np.testing.assert_allclose(own_share(forecast_RN, alone_RN), [1 / 3, np.nan, np.nan])


def test_a_change_is_counted_from_the_newest_snapshot_before_even_across_a_gap(walked) -> None:
    home, panel = walked
    for offset in (9, 4, 1, 0):
        snapshot_day(home, rolling_experiment(), panel, DAY - timedelta(days=offset), load=fake_load)
    read = snapshots_from_previous(home.attention, DAY - timedelta(days=1), DAY)
    assert [(DAY - frame["day"].iloc[0].date()).days for frame in read] == [4, 1, 0]


def test_a_snapshot_is_the_attention_of_the_very_call_that_forecasts(tmp_path: Path) -> None:
    """A real network: what its cross-attention returned while the stored forecasts were made is what the snapshot holds."""
    panel, experiment = synthetic_panel(32), rolling_experiment()
    training = experiment.training.model_copy(update={"epochs": 1, "warm_epochs": 1})
    experiment = experiment.model_copy(update={"training": training})
    home = Home(tmp_path)
    used: list[np.ndarray] = []

    def listening(folder: Path, of) -> FittedModel:
        model = load_model(folder, of)
        if isinstance(model, FittedNetwork):
            model.network.cross.register_forward_hook(lambda module, tokens, out: used.append(out[1].numpy().copy()))
        return model

    list(walk(home, experiment, panel, FIRST_DAY, DAY - timedelta(days=1), load=listening))
    used.clear()
    list(walk(home, experiment, panel, DAY, DAY, load=listening))
    in_forecast_RHNML = next(weight for weight in used if len(weight) == 24)
    snapshot = snapshot_day(home, experiment, panel, DAY)
    rows = np.arange(29 * 24, 30 * 24)
    model = load_model(home.models / snapshot.model_id, experiment)
    weights = model.attention(panel.until(30 * 24), rows)
    np.testing.assert_array_equal(weights.weight_RHNML, in_forecast_RHNML)
    np.testing.assert_allclose(snapshot.weight_NML, weights.heads_serving("next_bar").mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(in_forecast_RHNML.sum(axis=(3, 4)), 1.0, atol=1e-5)


def test_an_asset_that_cannot_be_read_gets_nothing_from_a_real_network() -> None:
    panel, experiment = synthetic_panel(32), rolling_experiment()
    training = experiment.training.model_copy(update={"epochs": 1})
    experiment = experiment.model_copy(update={"training": training})
    cut_off = 30 * 24 - 1
    request = FitRequest(panel.until(cut_off + 1), cut_off, np.ones(cut_off + 1, dtype=np.float32), seed=1)
    model = fit_model("attention", request, experiment)
    age_TN = np.array(panel.age_hours_TN)
    age_TN[-24:, 2] = experiment.features.max_age_hours + 1
    weights = model.attention(dataclasses.replace(panel, age_hours_TN=age_TN), np.arange(31 * 24, 32 * 24))
    snapshot = summarise(weights, DAY, "m")
    np.testing.assert_array_equal(weights.weight_RHNML[:, :, :, 2], 0.0)
    np.testing.assert_array_equal(snapshot.edge_NM[:, 2], 0.0)
    np.testing.assert_allclose(snapshot.edge_NM.sum(axis=1), 1.0, atol=1e-6)
