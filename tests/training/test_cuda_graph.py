"""The recorded step, without a GPU: what a recording reads, when it is replayed, and that it learns what the plain step does."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.windows import Windows, fit_scaler
from crossattn_core.training import loop
from crossattn_core.training.cuda_graph import GraphedStep
from crossattn_core.training.device import Computing
from crossattn_core.training.examples import Batch, alike, on_device

PANEL = planted_market(bars=700, assets=4, seed=2, edges=())
WINDOWS = Windows(PANEL, fit_scaler(PANEL, 0, 600), lookback=24, max_age_hours=96)
MASKED = Windows(
    replace(PANEL, age_hours_TN=np.where(np.arange(700)[:, None] // 50 % 8 == np.arange(4), 200.0, PANEL.age_hours_TN)),
    fit_scaler(PANEL, 0, 600),
    lookback=24,
    max_age_hours=96,
)
"""Each asset is unreadable for 50 bars of 400."""
LAGS = 6


def computed_again(parameters: list[nn.Parameter], counted: list[int], compute: Callable[[], Tensor]):
    """In place of a CUDA graph: the same call anew, into the memory of the first one's loss and gradients."""
    value = compute().clone()
    gradients = [parameter.grad for parameter in parameters]
    mine = len(counted)
    counted.append(0)

    def replay() -> None:
        counted[mine] += 1
        value.copy_(compute())
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None and parameter.grad is not None:
                gradient.copy_(parameter.grad)

    return value, replay


def batches_of(*rows: list[int], windows: Windows = WINDOWS) -> list[Batch]:
    return [Batch(torch.tensor(row), windows.places(torch.tensor(row), LAGS)) for row in rows]


def drawn_weights() -> nn.Parameter:
    """The same in any order of the tests: how far two orders of one sum lie apart hangs on the numbers."""
    return nn.Parameter(torch.randn(LAGS, 4, WINDOWS.bar_TNC.shape[2], generator=torch.Generator().manual_seed(1)))


def step_of(weight_LNC: nn.Parameter, windows: Windows = WINDOWS) -> Callable[[Batch], Tensor]:
    def step(batch: Batch) -> Tensor:
        recent = windows.recent(batch.row_B, batch.recent)
        loss = recent.readable_BN.sum() * (recent.spread(recent.bar_UNC * weight_LNC.sum(dim=0)) * weight_LNC).square().sum()
        weight_LNC.grad = None
        loss.backward()
        return loss.detach()

    return step


def test_a_replayed_batch_has_the_loss_and_the_gradients_of_the_plain_step() -> None:
    weight_LNC = drawn_weights()
    plain, counted = step_of(weight_LNC), []
    graphed = GraphedStep(plain, [weight_LNC], partial(computed_again, [weight_LNC], counted))
    batches = batches_of(
        list(range(100, 108)), [300, 301, 302, 303, 500, 501, 40, 41], [7, 99, 8], [250, 251, 252, 253, 3, 4, 5, 6]
    )
    for batch, padded in zip(batches, alike(batches), strict=True):
        expected, gradient = plain(batch), weight_LNC.grad
        torch.testing.assert_close(graphed(padded), expected)
        torch.testing.assert_close(weight_LNC.grad, gradient)
    assert counted == [3]  # the short batch was computed as without


def test_batches_with_an_unreadable_asset_have_a_recording_of_their_own() -> None:
    weight_LNC = drawn_weights()
    plain, counted = step_of(weight_LNC, MASKED), []
    graphed = GraphedStep(plain, [weight_LNC], partial(computed_again, [weight_LNC], counted))
    batches = batches_of([210, 211], [20, 110], [300, 301], [22, 60], windows=MASKED)
    assert [batch.recent.all_readable for batch in batches] == [True, False, True, False]
    for batch, padded in zip(batches, alike(batches), strict=True):
        expected, gradient = plain(batch), weight_LNC.grad
        torch.testing.assert_close(graphed(padded), expected)
        torch.testing.assert_close(weight_LNC.grad, gradient)
    assert counted == [2, 2]


def test_a_step_that_takes_another_form_is_recorded_anew() -> None:
    weight_LNC = drawn_weights()
    counted: list[int] = []
    graphed = GraphedStep(step_of(weight_LNC), [weight_LNC], partial(computed_again, [weight_LNC], counted))
    [batch] = alike(batches_of([100, 101]))
    graphed(batch)
    graphed.forget()
    graphed(batch)
    assert counted == [1, 1]


def test_a_batch_that_needs_more_room_is_recorded_anew() -> None:
    weight_LNC = drawn_weights()
    plain, counted = step_of(weight_LNC), []
    graphed = GraphedStep(plain, [weight_LNC], partial(computed_again, [weight_LNC], counted))
    near, far = batches_of(list(range(100, 140)), list(range(100, 500, 10)))
    for batch in (*alike([near]), *alike([far]), *alike([far])):
        graphed(batch)
    assert counted == [1, 2]


def test_tables_come_to_a_device_as_they_were() -> None:
    batches = alike(batches_of([100, 101, 102], [400, 401], [7]))
    batches += alike(batches_of([20, 110], [210, 211], windows=MASKED))
    for before, after in zip(batches, on_device(batches, torch.device("cpu")), strict=True):
        assert after.is_like(before)
        assert all(map(torch.equal, before.tables, after.tables))


def fitted(**training: object) -> FittedModel:
    knobs = {"epochs": 2, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8, "own_branch_stride": 4, **training}
    model = {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1, "dropout": 0.0}
    return fit_model(
        "attention",
        FitRequest(PANEL, 600, np.ones(700, np.float32), seed=5),
        planted_experiment(PANEL, {"model": model, "training": knobs}),
    )


def test_a_fit_of_replayed_steps_learns_what_a_plain_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, counted = fitted(), []

    def on_cpu(settings: TrainingSettings, assets: int) -> Computing:
        return Computing(torch.device("cpu"), bfloat16=False)

    def graphed(step: Callable[[Batch], Tensor], parameters: list[nn.Parameter]) -> GraphedStep:
        return GraphedStep(step, parameters, partial(computed_again, parameters, counted))

    monkeypatch.setattr(Computing, "of", on_cpu)
    monkeypatch.setattr(loop, "GraphedStep", graphed)
    replayed = fitted(cuda_graph=True)
    assert sum(counted) > 10
    losses = [model.manifest["validation_losses"] for model in (plain, replayed)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)


def test_a_graph_is_refused_where_there_is_no_gpu() -> None:
    for device in ("cpu", "auto"):
        if device == "auto" and torch.cuda.is_available():
            continue
        with pytest.raises(TrainingError, match=r"cuda_graph records kernels of a GPU.*set cuda_graph to false"):
            fitted(cuda_graph=True, device=device)


def test_a_graph_moves_no_hash() -> None:
    assert "cuda_graph" in TrainingSettings.not_hashed
