"""A run of Dagster whose fits and evidence are made on Ray leaves what one without leaves."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from crossattn_core.analysis.evidence import evidence_as_of
from crossattn_core.compute.ray_pool import RayPool, RayTask
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_pipeline.launch import materialize
from tests.small import past, small_experiment

pytestmark = pytest.mark.slow

STAGES = ("retrain_plan", "rolling_model", "forecasts", "attention_snapshot")


def test_stages_materialized_on_two_nodes_store_models_forecasts_and_evidence_of_one_in_process(
    cluster: Any, ready_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(ready_folder / "home", home)
    experiment = small_experiment(ready_folder / "market", compute={"engine": "ray", "address": cluster.address})
    line = Line(experiment, open_home(home, experiment), clock=past)
    assert not line.staleness.stale_days("walk_forward")  # the engine is no reason to make anything again
    for folder in ("models", "walk_forward/plan", "walk_forward/predictions", "attention", "dagster"):
        shutil.rmtree(home / folder, ignore_errors=True)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    submitted = []

    def submit_counted(pool: RayPool, function: Any, *arguments: Any) -> RayTask:
        submitted.append(function)
        return submit(pool, function, *arguments)

    submit = RayPool.submit
    monkeypatch.setattr(RayPool, "submit", submit_counted)
    assert materialize(line, "models", STAGES, list(line.staleness.days)).success
    days_of_evidence = list((home / "attention" / "evidence").iterdir())
    assert submitted.count(evidence_as_of) == len(days_of_evidence) >= 2
    assert len(submitted) - len(days_of_evidence) == len(list((home / "models").iterdir())) >= 4
    for folder in ("models", "walk_forward", "attention"):
        assert stored(home / folder) == stored(ready_folder / "home" / folder), folder


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
