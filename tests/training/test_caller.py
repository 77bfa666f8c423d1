"""A fit and its caller: what he has set in torch moves no bit and comes back, and what his machine cannot do names the remedy."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import TrainingError
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model, load_model

PANEL = planted_market(bars=300, assets=4, seed=2, edges=())
EXPERIMENT = planted_experiment(
    PANEL,
    {
        "model": {"lookback": 16, "patch": 4, "max_lag": 4, "width": 8, "heads": 4, "layers": 1},
        "training": {"epochs": 1, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8},
    },
)
ROWS = np.arange(240, 260)


def fit(family: str) -> FittedModel:
    return fit_model(family, FitRequest(PANEL, 250, np.ones(300, np.float32), seed=5), EXPERIMENT)


def settings() -> tuple:
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@contextlib.contextmanager
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def warned_of_what_is_not_deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("family", ["attention", "stacked_attention", "masaat", "lstm"])
@pytest.mark.parametrize(
    "caller",
    [
        double_by_default,
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        warned_of_what_is_not_deterministic,
    ],
    ids=["double", "no gradients", "inference", "autocast", "deterministic"],
)
def test_what_the_caller_has_set_moves_no_bit_and_comes_back(
    caller: Callable[[], AbstractContextManager], family: str, tmp_path: Path
) -> None:
    usual = fit(family)
    gives = type(usual).weights if family == "masaat" else type(usual).forecast_next_bar
    expected_RN = gives(usual, PANEL, ROWS)
    with caller():
        before = settings()
        model = fit(family)
        forecast_RN = gives(model, PANEL, ROWS)
        loaded_RN = gives(load_model(model.save(tmp_path / "model"), EXPERIMENT), PANEL, ROWS)
        assert settings() == before
    assert model.model_id == usual.model_id
    np.testing.assert_array_equal(forecast_RN, expected_RN)
    np.testing.assert_array_equal(loaded_RN, expected_RN)


def test_neither_a_fit_nor_a_model_read_back_seeds_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    load_model(fit("attention").save(tmp_path / "model"), EXPERIMENT)
    assert seeded == []


@pytest.mark.parametrize(
    "where",
    [
        "families.network._screened",
        "training.examples.Examples.to",
        "training.step.TrainingStep._loss",
        "training.loop.validation_output",
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("Unable to allocate 74 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 74 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_out_anywhere_in_a_fit_names_batch_size_and_assets(
    where: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(f"crossattn_core.{where}", fail)
    with pytest.raises(TrainingError, match=r"batch_size 64 with 4 assets; lower batch_size"):
        fit("attention")


def test_a_validation_loss_that_is_no_number_stops_the_fit_and_names_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossattn_core.training.loop.loss_on_validation", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match=r"validation loss nan in epoch 1: .*lower training.learning_rate"):
        fit("attention")


def test_an_error_that_is_none_of_the_device_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise NotImplementedError("a head of one's own")

    monkeypatch.setattr("crossattn_core.training.step.TrainingStep._loss", fail)
    with pytest.raises(NotImplementedError, match="a head of one's own"):
        fit("attention")
