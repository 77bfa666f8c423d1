"""The one loop: reproducible, resumable to the same bits, and loud about a loss that is not finite."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.errors import CheckpointError, TrainingError
from crossattn_core.families.fitted import EpochReport
from crossattn_core.families.registry import FitRequest, FittedModel, fit_model

PANEL = planted_market(bars=700, assets=4, seed=2, edges=())
SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 4, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8, "patience": 4},
}
REQUEST = FitRequest(PANEL, 600, np.ones(700, np.float32), seed=5)


def fit(request: FitRequest = REQUEST, stop_after: int | None = None, **training: object) -> FittedModel:
    class StopHereError(Exception):
        pass

    def report(epoch: EpochReport) -> None:
        if epoch.epoch == stop_after:
            raise StopHereError

    experiment = planted_experiment(PANEL, {**SMALL, "training": {**SMALL["training"], **training}})
    try:
        return fit_model("attention", request, experiment, report=report)
    except StopHereError:
        return fit_model("attention", request, experiment)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "plateau"])
def test_an_interrupted_fit_resumes_to_the_same_bits(schedule: str, tmp_path) -> None:
    straight = fit(schedule=schedule)
    resumed = fit(replace(REQUEST, resume_folder=tmp_path / "state"), stop_after=2, schedule=schedule)
    assert resumed.model_id == straight.model_id
    assert not (tmp_path / "state").exists()


def test_another_fits_state_is_never_picked_up(tmp_path) -> None:
    folder = tmp_path / "state"

    def stop(epoch: EpochReport) -> None:
        raise KeyboardInterrupt

    experiment = planted_experiment(PANEL, SMALL)
    with pytest.raises(KeyboardInterrupt):
        fit_model("attention", replace(REQUEST, resume_folder=folder, seed=6), experiment, report=stop)
    assert fit(replace(REQUEST, resume_folder=folder)).model_id == fit().model_id


def test_a_damaged_state_is_refused(tmp_path) -> None:
    folder = tmp_path / "state"

    def stop(epoch: EpochReport) -> None:
        raise KeyboardInterrupt

    experiment = planted_experiment(PANEL, SMALL)
    request = replace(REQUEST, resume_folder=folder)
    with pytest.raises(KeyboardInterrupt):
        fit_model("attention", request, experiment, report=stop)
    (state,) = folder.glob("state-*")
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="delete"):
        fit_model("attention", request, experiment)


def test_a_loss_that_is_not_finite_stops_the_fit_and_names_the_batch() -> None:
    weight_T = np.ones(700, np.float32)
    weight_T[300] = np.inf
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
