"""Every loss, through the one loop: what it names gets better, out of sample, on a market with leads that are known."""

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.planted.markets import PlantedEdge, planted_experiment, planted_market
from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.labels import compute_labels, next_bar_labels
from crossattn_core.training.epochs import EpochReport

# Leads long enough ago that they are still to come at the fill, an hour after the decision.
EDGES = (PlantedEdge(0, 1, 3, share=0.3), PlantedEdge(0, 2, 4, share=0.3), PlantedEdge(3, 4, 2, share=0.3))
PANEL = planted_market(bars=2200, assets=5, seed=4, edges=EDGES)
CUT_OFF = 1700
ROWS = np.arange(CUT_OFF + 1, 2190)
SMALL: dict[str, Any] = {
    "labels": {"horizons": (1,), "trade_horizon": 1},
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1, "dropout": 0.0},
    "training": {"epochs": 4, "minimum_batches": 40, "batch_size": 64, "contiguous_rows": 8, "turnover_cost_bps": 1.0},
}


def fitted(family: str = "attention", *, model: dict | None = None, **training: object) -> tuple[FittedModel, list[EpochReport]]:
    sections = SMALL | {"training": SMALL["training"] | training, "model": SMALL["model"] | (model or {})}
    epochs: list[EpochReport] = []
    request = FitRequest(PANEL, CUT_OFF, np.ones(len(PANEL.as_of_T), np.float32), seed=5)
    return fit_model(family, request, planted_experiment(PANEL, sections), report=epochs.append), epochs


def ic(model: FittedModel) -> float:
    outcome_RN = next_bar_labels(PANEL).value_TNH[ROWS, :, 0]
    forecast_RN = model.forecast_next_bar(PANEL, ROWS)
    return float(np.mean([np.corrcoef(forecast_RN[:, n], outcome_RN[:, n])[0, 1] for n in (1, 2, 4)]))


@pytest.mark.parametrize(("family", "loss"), [("attention", "huber"), ("attention", "rank_ic"), ("direction_attention", "mse")])
def test_a_fit_gets_better_and_finds_the_leads(family: str, loss: str) -> None:
    model, epochs = fitted(family, loss=loss)
    assert min(epoch.validation_loss for epoch in epochs[1:]) < epochs[0].validation_loss
    assert epochs[-1].training_loss < epochs[0].training_loss
    assert ic(model) > 0.25


@pytest.mark.parametrize("family", ["sharpe_attention", "portfolio_transformer"])
def test_a_fit_on_sharpe_trains_and_gives_weights_in_place_of_forecasts(family: str) -> None:
    model, epochs = fitted(family, model={"patch": 1, "lookback": 8}, epochs=8)
    assert epochs[-1].training_loss < epochs[0].training_loss
    weight_RN = model.weights(PANEL, ROWS)
    assert weight_RN is not None
    np.testing.assert_allclose(np.abs(weight_RN).sum(axis=1), 1.0, rtol=1e-4)
    assert np.isnan(model.forecast(PANEL, ROWS)).all()
    earned_R = (weight_RN * np.expm1(compute_labels(PANEL, planted_experiment(PANEL, SMALL).labels).value_TNH[ROWS, :, 0])).sum(1)
    # Per decision; noise alone has a standard error of .045 here.
    assert earned_R.mean() / earned_R.std() > 0.15


def test_long_only_weights_are_never_short() -> None:
    model, _ = fitted("sharpe_attention", model={"weight_shape": "softmax"}, epochs=1)
    weight_RN = model.weights(PANEL, ROWS)
    assert weight_RN is not None
    assert (weight_RN >= 0).all()


def test_the_entropy_penalty_keeps_attention_on_more_assets() -> None:
    def concentration(model: FittedModel) -> float:
        attention = model.attention(PANEL, ROWS[:50])
        assert attention is not None
        share_RHNM = attention.weight_RHNML.sum(axis=-1)
        return float((share_RHNM**2).sum(axis=-1).mean())

    free, held = fitted()[0], fitted(entropy_weight=1.0)[0]
    assert concentration(held) < 0.7 * concentration(free)


def test_bfloat16_products_give_about_the_same_model() -> None:
    exact, rough = (fitted(precision=precision, epochs=2)[0] for precision in ("float32", "bfloat16"))
    assert exact.model_id != rough.model_id
    answers = [model.forecast_next_bar(PANEL, ROWS)[:, (1, 2, 4)].ravel() for model in (exact, rough)]
    assert np.corrcoef(*answers)[0, 1] > 0.95


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused_and_auto_takes_the_cpu() -> None:
    with pytest.raises(TrainingError, match="sees no GPU"):
        fitted(device="cuda", epochs=1)
    assert fitted(device="auto", epochs=1)[0].forecast(PANEL, ROWS).shape == (len(ROWS), 5, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_fit_on_a_gpu_finds_the_leads_too() -> None:
    assert ic(fitted(device="cuda")[0]) > 0.25


def test_the_manifest_says_where_a_fit_was_computed_and_the_device_is_no_part_of_the_request() -> None:
    on_cpu = fitted(device="cpu", epochs=1)[0]
    assert on_cpu.manifest["computed_on"] == {"device": "cpu", "precision": "float32", "torch": torch.__version__}
    assert "device" not in on_cpu.manifest["training"]
    assert TrainingSettings(device="cuda").content_hash() == TrainingSettings(device="cpu").content_hash()


def test_a_fit_leaves_the_callers_random_numbers_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("error", "precision", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "float32", r"batch_size 64 with 5 assets; lower batch_size"),
        (
            RuntimeError("could not create a primitive"),
            "bfloat16",
            r"\(could not create a primitive\); set training.precision",
        ),
    ],
)
def test_what_a_device_cannot_do_says_what_to_turn(
    error: RuntimeError, precision: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr("crossattn_core.training.step.TrainingStep._loss", fail)
    with pytest.raises(TrainingError, match=told):
        fitted(precision=precision, epochs=1)


def test_a_batch_on_sharpe_holds_decisions_that_follow_each_other() -> None:
    from crossattn_core.training.loop import _shuffled_runs

    row_R = torch.arange(100, 500)
    order_R = _shuffled_runs(row_R, 8, torch.Generator().manual_seed(0), step=24)
    assert sorted(order_R.tolist()) == row_R.tolist()
    assert float((order_R.diff() == 24).float().mean()) > 0.75
