"""A model's id is made of what the model is: the rows, the knobs it depends on, its weights; and nothing else."""

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core import __version__
from crossattn_core.experiment import Experiment
from crossattn_core.families import checkpoint
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model

PANEL = planted_market(bars=500, assets=4, seed=3)
REQUEST = FitRequest(PANEL, 400, np.ones(500, np.float32), seed=5)
SMALL = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 8, "heads": 2, "layers": 1},
    "training": {"epochs": 1, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8},
    "baselines": {"ridge_lags": 6, "boosted_trees": 5},
}
ONE_OF_EACH_KIND = pytest.mark.parametrize(
    "family", ["attention", "ridge_var", "adaptive_lasso", "local_lead_lag", "lightgbm", "lightgbm_pooled"]
)


def changed(experiment: Experiment, section: str, **knobs: object) -> Experiment:
    return experiment.model_copy(update={section: getattr(experiment, section).model_copy(update=knobs)})


def model_id(family: str, experiment: Experiment) -> str:
    return fit_model(family, REQUEST, experiment).model_id


@ONE_OF_EACH_KIND
def test_another_name_feed_folder_or_later_end_of_the_period_gives_the_same_model(family: str) -> None:
    experiment = planted_experiment(PANEL, SMALL)
    later = experiment.period.end.replace(year=experiment.period.end.year + 1)
    elsewhere = changed(changed(experiment, "feed", kind="files", folder="/elsewhere"), "period", end=later)
    renamed = elsewhere.model_copy(update={"name": "renamed"})
    assert renamed.content_hash() != experiment.content_hash()
    assert model_id(family, renamed) == model_id(family, experiment)


@ONE_OF_EACH_KIND
def test_knobs_of_what_comes_after_the_fit_give_the_same_model(family: str) -> None:
    experiment = planted_experiment(PANEL, SMALL)
    after = changed(changed(experiment, "costs", borrow_bps_per_year=77.0), "baselines", strategies=("cash", "equal_weight"))
    assert model_id(family, after) == model_id(family, experiment)


def test_a_model_depends_on_the_knobs_of_its_family_and_not_on_another_familys() -> None:
    experiment = planted_experiment(PANEL, SMALL)
    ridge = changed(experiment, "baselines", ridge_penalty=77.0)
    network = changed(experiment, "training", learning_rate=5e-3)
    assert model_id("ridge_var", ridge) != model_id("ridge_var", experiment)
    assert model_id("attention", ridge) == model_id("attention", experiment)
    assert model_id("attention", network) != model_id("attention", experiment)
    assert model_id("ridge_var", network) == model_id("ridge_var", experiment)


def test_the_manifest_records_which_version_fitted_the_model_but_the_id_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = planted_experiment(PANEL, SMALL)
    before = fit_model("ridge_var", REQUEST, experiment)
    monkeypatch.setattr(checkpoint, "__version__", "99.0")
    after = fit_model("ridge_var", REQUEST, experiment)
    assert (before.manifest["code_version"], after.manifest["code_version"]) == (__version__, "99.0")
    assert after.model_id == before.model_id


def test_models_whose_knobs_differ_have_different_ids_even_where_their_weights_agree() -> None:
    experiment = planted_experiment(PANEL, SMALL)
    stricter = changed(experiment, "features", max_age_hours=5)
    assert model_id("ridge_var", stricter) != model_id("ridge_var", experiment)
