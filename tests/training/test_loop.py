"""The one loop: reproducible, and loud about a loss that is not finite."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import TrainingError
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model
from crossattn_core.training.epochs import EpochReport

PANEL = planted_market(bars=700, assets=4, seed=2, edges=())
SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 4, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8, "patience": 4},
}
REQUEST = FitRequest(PANEL, 600, np.ones(700, np.float32), seed=5)


def fit(request: FitRequest = REQUEST, **training: object) -> FittedModel:
    experiment = planted_experiment(PANEL, {**SMALL, "training": {**SMALL["training"], **training}})
    return fit_model("attention", request, experiment)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "plateau"])
def test_equal_requests_end_in_the_same_bits_under_every_schedule(schedule: str) -> None:
    first = fit(schedule=schedule)
    assert first.manifest["training"]["schedule"] == schedule
    assert fit(schedule=schedule).model_id == first.model_id


def test_a_loss_that_is_not_finite_stops_the_fit_and_names_the_batch() -> None:
    weight_T = np.ones(700, np.float32)
    weight_T[300] = 3e38  # a sum of such is infinite
    with pytest.raises(TrainingError, match=r"epoch 1, batch \d+ of \d+, rows \d+\.\.\d+"):
        fit(replace(REQUEST, row_weight_T=weight_T))


def test_rows_without_weight_teach_nothing() -> None:
    weight_T = np.ones(700, np.float32)
    weight_T[:200] = 0.0
    feature_TNF = PANEL.feature_TNF.copy()
    feature_TNF[:150] = 3.0
    changed = replace(PANEL, feature_TNF=feature_TNF)
    experiment = planted_experiment(PANEL, SMALL)
    first, second = (
        fit_model("attention", replace(REQUEST, panel=panel, row_weight_T=weight_T), experiment) for panel in (PANEL, changed)
    )
    assert first.model_id == second.model_id


def test_a_warm_start_makes_fewer_passes_and_names_its_parent() -> None:
    parent = fit()
    child = fit(replace(REQUEST, cut_off=650, warm_from=parent))
    assert child.manifest["parent_id"] == parent.model_id
    assert len(child.manifest["validation_losses"]) < len(parent.manifest["validation_losses"])


def test_epochs_are_reported_as_they_end() -> None:
    seen: list[EpochReport] = []
    fit_model("attention", REQUEST, planted_experiment(PANEL, SMALL), report=seen.append)
    assert [epoch.epoch for epoch in seen] == list(range(1, len(seen) + 1))
    assert all(np.isfinite([epoch.training_loss, epoch.validation_loss]).all() for epoch in seen)
