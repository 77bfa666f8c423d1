"""Several seeds as one model: the mean of members that lie in the checkpoint store as models of their own."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from crossattn_core.errors import CheckpointError
from crossattn_core.families.ensemble import FittedEnsemble
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import average_seeds, fit_model, load_model
from tests.walk_forward.fakes import rolling_experiment, synthetic_panel

PANEL = synthetic_panel(30)
EXPERIMENT = rolling_experiment(seeds=2).model_copy(
    update={"training": rolling_experiment().training.model_copy(update={"epochs": 1, "warm_epochs": 1, "minimum_batches": 2})}
)
REQUEST = FitRequest(PANEL, 25 * 24 - 1, np.ones(25 * 24, np.float32), seed=5)
ROWS = np.arange(26 * 24, 27 * 24)


@pytest.fixture(scope="module")
def ensemble() -> FittedEnsemble:
    model = fit_model("attention", REQUEST, EXPERIMENT)
    assert isinstance(model, FittedEnsemble)
    return model


def test_its_forecast_is_the_mean_of_members_that_differ(ensemble: FittedEnsemble) -> None:
    first, second = (member.forecast(PANEL, ROWS) for member in ensemble.members)
    assert not np.array_equal(first, second, equal_nan=True)
    np.testing.assert_allclose(ensemble.forecast(PANEL, ROWS), (first + second) / 2, rtol=1e-5, atol=1e-9)


def test_its_attention_still_sums_to_one(ensemble: FittedEnsemble) -> None:
    attention = ensemble.attention(PANEL, ROWS[:3])
    assert attention is not None
    total = attention.weight_RHNML.sum(axis=(3, 4))
    np.testing.assert_allclose(total[total > 0], 1.0, atol=1e-5)


def test_it_comes_back_from_the_store_bit_for_bit_and_its_manifest_lists_the_members(
    ensemble: FittedEnsemble, tmp_path: Path
) -> None:
    ensemble.save(tmp_path / ensemble.model_id)
    again = load_model(tmp_path / ensemble.model_id, EXPERIMENT)
    assert again.model_id == ensemble.model_id
    assert again.manifest["members"] == [member.model_id for member in ensemble.members]
    assert {path.name for path in tmp_path.iterdir()} == {ensemble.model_id, *again.manifest["members"]}
    assert np.array_equal(again.forecast(PANEL, ROWS), ensemble.forecast(PANEL, ROWS), equal_nan=True)


def test_its_manifest_says_where_its_members_were_computed(ensemble: FittedEnsemble) -> None:
    expected = {"device": "cpu", "precision": "float32", "torch": torch.__version__}
    assert ensemble.manifest["computed_on"] == ensemble.members[0].manifest["computed_on"] == expected
    first, second = ensemble.members
    apart = copy.copy(second)
    apart.manifest = second.manifest | {"computed_on": expected | {"device": "a GPU"}}
    mixed = average_seeds([first, apart], "attention", REQUEST, EXPERIMENT)
    assert mixed.manifest["computed_on"] == expected | {"device": "cpu, a GPU"}
    assert mixed.model_id == ensemble.model_id


def test_without_a_member_it_is_no_checkpoint(ensemble: FittedEnsemble, tmp_path: Path) -> None:
    ensemble.save(tmp_path / ensemble.model_id)
    (tmp_path / ensemble.members[1].model_id / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(tmp_path / ensemble.model_id, EXPERIMENT)


def test_each_member_starts_warm_from_its_counterpart(ensemble: FittedEnsemble) -> None:
    warm = fit_model("attention", dataclasses.replace(REQUEST, seed=6, warm_from=ensemble), EXPERIMENT)
    assert isinstance(warm, FittedEnsemble)
    assert warm.manifest["parent_id"] == ensemble.model_id
    parents = [member.manifest["parent_id"] for member in warm.members]
    assert parents == [member.model_id for member in ensemble.members]


def test_a_family_without_randomness_has_no_ensemble() -> None:
    assert not isinstance(fit_model("ridge_var", REQUEST, EXPERIMENT), FittedEnsemble)
