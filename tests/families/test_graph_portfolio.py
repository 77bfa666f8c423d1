"""The graph-attention portfolio: its graph is made of the training rows and kept with the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.model.encoders.graph_attention import GraphAttention
from crossattn_core.panel.panel import Panel

BARS, CUT_OFF = 700, 600
SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 8, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 1, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8, "validation_share": 0.2},
}


def with_prices(panel: Panel, price_TN: np.ndarray) -> Panel:
    return replace(panel, trade_price_TN=price_TN, mark_price_TN=price_TN)


def fitted(panel: Panel) -> FittedNetwork:
    request = FitRequest(panel, CUT_OFF, np.ones(BARS, np.float32), seed=5)
    model = fit_model("graph_attention_portfolio", request, planted_experiment(panel, SMALL))
    assert isinstance(model, FittedNetwork)
    return model


def graph_of(model: FittedNetwork) -> np.ndarray:
    encoder = model.network.temporal
    assert isinstance(encoder, GraphAttention)
    return encoder.neighbour_NM.numpy()


def test_bars_after_the_training_rows_change_no_neighbour_and_bars_among_them_do() -> None:
    panel = planted_market(BARS, assets=10, seed=1)
    model = fitted(panel)
    move_TN = np.exp(0.03 * np.random.default_rng(0).standard_normal((BARS, 10)).cumsum(axis=0))
    later_TN, within_TN = panel.mark_price_TN.copy(), panel.mark_price_TN.copy()
    later_TN[470:] *= move_TN[470:]
    within_TN[:470] *= move_TN[:470]
    np.testing.assert_array_equal(graph_of(fitted(with_prices(panel, later_TN))), graph_of(model))
    assert not np.array_equal(graph_of(fitted(with_prices(panel, within_TN))), graph_of(model))


def test_a_model_is_read_back_with_its_graph(tmp_path: Path) -> None:
    panel = planted_market(BARS, assets=10, seed=1)
    model = fitted(panel)
    loaded = load_model(model.save(tmp_path / "model"), planted_experiment(panel, SMALL))
    assert isinstance(loaded, FittedNetwork)
    np.testing.assert_array_equal(graph_of(loaded), graph_of(model))
    assert not graph_of(model).all()
