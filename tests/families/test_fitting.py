"""Fitting: every family goes through one door, sees nothing after its cut-off, and comes back from disk the same."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import CheckpointError, ExperimentError, TrainingError
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import FAMILIES as REGISTRY
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.panel.panel import Panel

SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 8, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 2, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8},
    "baselines": {"ridge_lags": 8, "boosted_trees": 10},
}
CUT_OFF = 700
FAMILIES = REGISTRY.names()
GIVES_WEIGHTS = [name for name, family in REGISTRY.items() if family.gives_weights]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return planted_market(bars=900, assets=5, seed=3)


def request_on(panel: Panel, cut_off: int = CUT_OFF) -> FitRequest:
    return FitRequest(panel, cut_off, np.ones(len(panel.as_of_T), np.float32), seed=5)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_requests_give_equal_bits(family: str, panel: Panel) -> None:
    experiment = planted_experiment(panel, SMALL)
    first, second = (fit_model(family, request_on(panel), experiment) for _ in range(2))
    rows = np.arange(CUT_OFF, 900)
    assert first.model_id == second.model_id
    np.testing.assert_array_equal(first.forecast(panel, rows), second.forecast(panel, rows))


@pytest.mark.parametrize("family", FAMILIES)
def test_rewriting_the_bars_after_the_cut_off_changes_no_model(family: str, panel: Panel) -> None:
    experiment = planted_experiment(panel, SMALL)
    rng = np.random.default_rng(0)
    later = slice(CUT_OFF + 1, None)
    feature_TNF, price_TN = panel.feature_TNF.copy(), panel.trade_price_TN.copy()
    feature_TNF[later] = rng.standard_normal(feature_TNF[later].shape)
    price_TN[later] *= np.exp(rng.standard_normal(price_TN[later].shape))
    rewritten = replace(panel, feature_TNF=feature_TNF, trade_price_TN=price_TN, mark_price_TN=price_TN)
    known, changed = (fit_model(family, request_on(each), experiment) for each in (panel, rewritten))
    assert known.model_id == changed.model_id


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_comes_back_from_disk_with_the_same_outputs(family: str, panel: Panel, tmp_path) -> None:
    experiment = planted_experiment(panel, SMALL)
    model = fit_model(family, request_on(panel), experiment)
    loaded = load_model(model.save(tmp_path / "model"), experiment)
    rows = np.arange(690, 720)
    assert loaded.model_id == model.model_id
    np.testing.assert_array_equal(loaded.forecast(panel, rows), model.forecast(panel, rows))
    assert (model.weights(panel, rows) is not None) == (family in GIVES_WEIGHTS)
    if family in GIVES_WEIGHTS:
        np.testing.assert_array_equal(loaded.weights(panel, rows), model.weights(panel, rows))
    else:
        assert np.isfinite(model.forecast(panel, rows)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_output_reads_a_bar_after_its_row(family: str, panel: Panel) -> None:
    model = fit_model(family, request_on(panel), planted_experiment(panel, SMALL))
    rows = np.arange(720, 740)
    rng = np.random.default_rng(1)
    feature_TNF, price_TN = panel.feature_TNF.copy(), panel.trade_price_TN.copy()
    feature_TNF[731:] = rng.standard_normal(feature_TNF[731:].shape)
    price_TN[731:] *= np.exp(rng.standard_normal(price_TN[731:].shape))
    rewritten = replace(panel, feature_TNF=feature_TNF, trade_price_TN=price_TN, mark_price_TN=price_TN)
    for output in (model.forecast, model.forecast_next_bar, model.weights):
        before, after = output(panel, rows), output(rewritten, rows)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before[:11], after[:11])


def test_a_checkpoint_of_another_feature_set_or_network_is_refused_with_each_difference(panel: Panel, tmp_path) -> None:
    experiment = planted_experiment(panel, SMALL)
    folder = fit_model("attention", request_on(panel), experiment).save(tmp_path / "model")
    fewer = planted_experiment(panel, {**SMALL, "features": {"names": list(panel.features[:-1])}})
    with pytest.raises(CheckpointError, match=rf"features: only in the checkpoint \['{panel.features[-1]}'\]"):
        load_model(folder, fewer)
    wider = planted_experiment(panel, {**SMALL, "model": {**SMALL["model"], "width": 32}})
    with pytest.raises(CheckpointError, match=r"model.width: checkpoint 16, experiment 32"):
        load_model(folder, wider)


def test_a_checkpoint_of_another_layout_is_refused(panel: Panel, tmp_path) -> None:
    experiment = planted_experiment(panel, SMALL)
    folder = fit_model("ridge_var", request_on(panel), experiment).save(tmp_path / "model")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    with pytest.raises(CheckpointError, match=r"layout 0, this code reads 1"):
        load_model(folder, experiment)


def test_a_checkpoint_of_another_universe_is_refused_with_the_difference(panel: Panel, tmp_path) -> None:
    experiment = planted_experiment(panel, SMALL)
    folder = fit_model("ridge_var", request_on(panel), experiment).save(tmp_path / "model")
    other = planted_experiment(planted_market(bars=50, assets=6), SMALL)
    with pytest.raises(CheckpointError, match=r"only in the experiment \['bybit:linear:A5USDT'\]"):
        load_model(folder, other)


def test_a_damaged_checkpoint_is_refused(panel: Panel, tmp_path) -> None:
    experiment = planted_experiment(panel, SMALL)
    folder = fit_model("ridge_var", request_on(panel), experiment).save(tmp_path / "model")
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="differ from the manifest's hash"):
        load_model(folder, experiment)


def test_an_unknown_family_is_refused_with_the_known_ones(panel: Panel) -> None:
    with pytest.raises(ExperimentError, match=r"Known: adaptive_lasso, attention, .*ridge_var"):
        fit_model("oracle", request_on(panel), planted_experiment(panel, SMALL))


def test_too_little_history_is_refused(panel: Panel) -> None:
    with pytest.raises(TrainingError, match="history"):
        fit_model("attention", request_on(panel, cut_off=30), planted_experiment(panel, SMALL))


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_newest_rows_weigh_nothing_older_ones_choose_in_their_place(family: str, panel: Panel) -> None:
    weight_T = np.ones(len(panel.as_of_T), np.float32)
    weight_T[500:] = 0
    request = replace(request_on(panel), row_weight_T=weight_T)
    model = fit_model(family, request, planted_experiment(panel, SMALL))
    given = model.weights if family in GIVES_WEIGHTS else model.forecast
    assert np.isfinite(given(panel, np.arange(690, 720))).all()
    assert model.manifest["train_rows"] + model.manifest["validation_rows"] <= 500


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_weight_that_is_none_is_refused_with_its_row(wrong: float, panel: Panel) -> None:
    weight_T = np.ones(len(panel.as_of_T), np.float32)
    weight_T[[200, 210]] = wrong
    with pytest.raises(TrainingError, match=rf"row_weight_T is {wrong} at row 200 \(2 such in all\)"):
        fit_model("ridge_var", replace(request_on(panel), row_weight_T=weight_T), planted_experiment(panel, SMALL))


def test_an_unreadable_asset_gets_no_forecast_and_moves_no_other_weight(panel: Panel) -> None:
    experiment = planted_experiment(panel, SMALL)
    model = fit_model("attention", request_on(panel), experiment)
    age_TN = panel.age_hours_TN.copy()
    age_TN[:, 2] = 1e4
    silent = replace(panel, age_hours_TN=age_TN)
    rows = np.arange(800, 810)
    forecast_RNH = model.forecast(silent, rows)
    assert np.isnan(forecast_RNH[:, 2]).all()
    assert np.isfinite(forecast_RNH[:, [0, 1, 3, 4]]).all()
    weights = model.attention(silent, rows)
    assert weights is not None
    assert (weights.weight_RHNML[:, :, :, 2] == 0).all()
    np.testing.assert_allclose(weights.weight_RHNML.sum(axis=(3, 4)), 1.0, rtol=1e-5)
