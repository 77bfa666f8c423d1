"""Which engine computes is no part of what is computed."""

import ast
from importlib.util import find_spec as found_spec

import pytest
from pydantic import ValidationError

from crossattn_core.code_hash import code_index
from crossattn_core.compute import pool as pool_module
from crossattn_core.compute.installed import check_installed, installed
from crossattn_core.compute.pool import open_pool
from crossattn_core.errors import ComputeError, ExperimentError
from crossattn_core.experiment import ComputeSettings, Experiment, load_experiment
from crossattn_core.stages import knob_values, stage_table
from crossattn_core.walk_forward.fingerprint import settings_hash
from crossattn_core.warehouse.models import load_project

ON_RAY = {"compute": {"engine": "ray", "cpus": 2, "retries": 0, "threads": 4, "address": "10.0.0.1:6379"}}


def test_no_knob_of_the_engine_enters_a_hash() -> None:
    here, there = Experiment(), load_experiment(overrides=ON_RAY)
    assert ComputeSettings.not_hashed == set(ComputeSettings.model_fields)
    assert there.compute != here.compute
    assert there.content_hash() == here.content_hash()
    assert settings_hash(there) == settings_hash(here)
    assert knob_values(there, ("*",)) == knob_values(here, ("*",))


def test_no_stage_is_stale_because_of_another_engine() -> None:
    project = load_project()
    here, there = (stage_table(experiment, project) for experiment in (Experiment(), load_experiment(overrides=ON_RAY)))
    assert {stage.name: here.version(stage) for stage in here} == {stage.name: there.version(stage) for stage in there}


def test_in_process_there_is_no_pool() -> None:
    with open_pool(ComputeSettings()) as pool:
        assert pool is None


def test_an_engine_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "find_spec", lambda name: None if name == "ray" else found_spec(name))
    with pytest.raises(ComputeError, match=r"install crossattn\[ray\]"), open_pool(ComputeSettings(engine="ray")):
        pass


def test_a_fit_on_a_gpu_that_its_worker_would_not_see_is_refused() -> None:
    with pytest.raises(ExperimentError, match=r"set compute\.gpus to 1"):
        load_experiment(overrides={"compute": {"engine": "ray"}, "training": {"device": "cuda"}})
    for gpus in (1, 0.25):
        load_experiment(overrides={"compute": {"engine": "ray", "gpus": gpus}, "training": {"device": "cuda"}})


def test_fits_may_share_a_gpu_and_a_fit_may_have_whole_ones_but_not_one_and_a_half() -> None:
    assert [ComputeSettings(gpus=gpus).gpus for gpus in (0.125, 1, 2)] == [0.125, 1, 2]
    with pytest.raises(ValidationError, match=r"cannot have 1\.5 GPUs: give it a part of one \(0\.25: four fits share it\)"):
        ComputeSettings(gpus=1.5)


def test_a_worker_with_other_code_or_packages_refuses_to_compute() -> None:
    check_installed(installed())
    with pytest.raises(ComputeError, match=r"numpy: .* here, 1\.0 there"):
        check_installed(installed() | {"numpy": "1.0"})


def test_ray_is_imported_when_it_is_used_and_by_no_module_as_it_loads() -> None:
    index = code_index()
    importing = {
        module
        for module in index.modules
        for node in index.tree(module).body
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "ray" for alias in node.names)
    }
    assert importing == set()
