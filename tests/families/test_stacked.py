"""The encoder stack as a family: every head, every layer's attention, and what it finds where leads are known."""

from typing import Any

import numpy as np
import pytest

from benchmarks.planted.markets import PlantedEdge, planted_experiment, planted_market
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.model.stacked import StackedNetwork
from crossattn_core.panel.labels import next_bar_labels

EDGES = (PlantedEdge(0, 1, 2, share=0.4), PlantedEdge(0, 2, 3, share=0.4))
PANEL = planted_market(bars=1600, assets=4, seed=4, edges=EDGES)
CUT_OFF = 1300
ROWS = np.arange(CUT_OFF + 1, 1590)
STACKED = {"architecture": "stacked", "lookback": 8, "patch": 1, "max_lag": 4, "width": 16, "heads": 4, "layers": 2}
SMALL: dict[str, Any] = {
    "labels": {"horizons": (1,), "trade_horizon": 1},
    "training": {"epochs": 3, "minimum_batches": 40, "batch_size": 64, "contiguous_rows": 8},
}


def experiment_with(model: dict[str, Any], **training: Any) -> Experiment:
    return planted_experiment(PANEL, SMALL | {"model": STACKED | model, "training": SMALL["training"] | training})


def fitted(experiment: Experiment) -> FittedModel:
    return fit_model("attention", FitRequest(PANEL, CUT_OFF, np.ones(len(PANEL.as_of_T), np.float32), seed=5), experiment)


@pytest.fixture(scope="module")
def model() -> FittedModel:
    return fitted(experiment_with({}))


def test_a_stack_finds_leads_and_gives_the_part_that_the_others_add(model: FittedModel) -> None:
    outcome_RN, forecast_RN = next_bar_labels(PANEL).value_TNH[ROWS, :, 0], model.forecast_next_bar(PANEL, ROWS)
    alone_RN = model.forecast_without_others(PANEL, ROWS)
    assert alone_RN is not None
    ic, ic_alone = (
        np.mean([np.corrcoef(given[:, n], outcome_RN[:, n])[0, 1] for n in (1, 2)]) for given in (forecast_RN, alone_RN)
    )
    assert ic > 0.3
    assert ic_alone < ic / 2


def test_weak_leads_are_found_from_a_screened_start() -> None:
    panel = planted_market(
        bars=1600, assets=4, seed=4, edges=(PlantedEdge(0, 1, 2, share=0.05), PlantedEdge(0, 2, 3, share=0.05))
    )
    weights = []
    for screening in (True, False):
        experiment = experiment_with({"layers": 1}, screening=screening, epochs=1)
        found = fit_model("attention", FitRequest(panel, CUT_OFF, np.ones(len(panel.as_of_T), np.float32), seed=5), experiment)
        attention = found.attention(panel, ROWS[:1])
        assert attention is not None
        weight_NML = attention.weight_RHNML[0].mean(axis=0)
        weights.append((weight_NML[1, 0, 1], weight_NML[2, 0, 2]))
    assert min(weights[0]) > 0.4
    assert max(weights[1]) < 0.2


def test_the_attention_of_every_layer_is_returned(model: FittedModel) -> None:
    attention = model.attention(PANEL, ROWS[:5])
    assert attention is not None
    assert attention.weight_RHNML.shape == (5, 2 * 4, 4, 4, 4)
    assert attention.serves_H == ("all",) * 8
    np.testing.assert_allclose(attention.weight_RHNML.sum(axis=(-2, -1)), 1.0, rtol=1e-5)
    assert not np.allclose(attention.weight_RHNML[:, :4], attention.weight_RHNML[:, 4:])


def test_a_forecast_of_no_rows_is_empty(model: FittedModel) -> None:
    none = np.zeros(0, dtype=np.int64)
    attention = model.attention(PANEL, none)
    assert model.forecast(PANEL, none).shape == (0, 4, 1)
    assert attention is not None
    assert attention.weight_RHNML.shape == (0, 8, 4, 4, 4)


@pytest.mark.parametrize(("head", "loss"), [("direction", "cross_entropy"), ("weights", "sharpe")])
def test_every_head_fits_and_comes_back_from_disk(head: str, loss: str, tmp_path) -> None:
    experiment = experiment_with({"head": head, "cross_attention": "lagged", "patch": 4}, loss=loss, epochs=1)
    fit = fitted(experiment)
    loaded = load_model(fit.save(tmp_path / "model"), experiment)
    given, again = (each.weights(PANEL, ROWS) if head == "weights" else each.forecast(PANEL, ROWS) for each in (fit, loaded))
    assert np.isfinite(given).all()
    np.testing.assert_array_equal(given, again)
    assert isinstance(loaded, FittedNetwork)
    assert isinstance(loaded.network, StackedNetwork)


def test_the_entropy_penalty_holds_for_every_layer() -> None:
    attention = fitted(experiment_with({"patch": 4}, entropy_weight=10.0, epochs=1)).attention(PANEL, ROWS[:20])
    assert attention is not None
    assert attention.weight_RHNML.sum(axis=-1).max() < 0.45


def test_a_branch_that_stands_beside_cross_attention_is_refused_in_a_stack() -> None:
    with pytest.raises(ExperimentError, match="own_branch 'lstm' stands beside cross-attention"):
        load_experiment(None, {"model": {"architecture": "stacked", "own_branch": "lstm"}})
