"""``crossattn prune``, its job and its schedule."""

import json
import os
import shutil
import time
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from crossattn_core.experiment import load_experiment
from crossattn_pipeline.cli import app
from crossattn_pipeline.definitions import build_defs

RETENTION = {"model_days": 5, "report_days": 5, "run_days": 5, "log_days": 5}


@pytest.fixture
def folder(ready_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose files nobody has touched for two days, with a model that no plan names; an experiment that keeps five days."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    shutil.copytree(tmp_path / "home" / "reports" / "2025-03-28", tmp_path / "home" / "reports" / "2025-03-20")
    orphan = tmp_path / "home" / "models" / "0123456789abcdef"
    shutil.copytree(next((tmp_path / "home" / "models").iterdir()), orphan)
    manifest = (orphan / "manifest.json").read_text(encoding="utf-8").replace('"cut_off": "2025', '"cut_off": "2024')
    (orphan / "manifest.json").write_text(manifest, encoding="utf-8")
    before = time.time() - 2 * 86_400
    for path in (tmp_path / "home").rglob("*"):
        os.utime(path, (before, before))
    settings = json.loads((ready_folder / "small.yaml").read_text(encoding="utf-8"))
    (tmp_path / "all.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "kept.yaml").write_text(json.dumps(settings | {"retention": RETENTION}), encoding="utf-8")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path) for path in (folder / "home").rglob("*") if path.is_file() and "dagster" not in path.parts}


def pruned(folder: Path, experiment: str, *more: str) -> dict:
    chosen = ("--experiment", str(folder / experiment), "--home", str(folder / "home"), "--json")
    done = CliRunner().invoke(app, ["prune", *chosen, *more])
    assert done.exit_code == 0, done.output
    (told,) = map(json.loads, done.stdout.splitlines())
    return told


def test_a_dry_run_says_what_a_prune_then_deletes_and_a_second_prune_deletes_nothing(folder: Path) -> None:
    before = files(folder)
    told = pruned(folder, "kept.yaml", "--dry-run")
    assert told["dry_run"] is True
    assert files(folder) == before
    counts = {row["kind"]: row["count"] for row in told["pruned"]}
    assert (counts["models"], counts["pages"]) == (1, 1)
    deleted = pruned(folder, "kept.yaml")
    assert deleted["pruned"] == told["pruned"]
    gone = before - files(folder)
    assert all("/models/" in path or "/reports/2025-03-20/" in path for path in gone)
    assert all(row["count"] == 0 for row in pruned(folder, "kept.yaml")["pruned"])


def test_without_retention_everything_is_kept_and_the_knobs_are_named(folder: Path) -> None:
    before = files(folder)
    assert pruned(folder, "all.yaml") == {"event": "kept", "pruned": []}
    chosen = ("--experiment", str(folder / "all.yaml"), "--home", str(folder / "home"))
    assert "set retention.model_days, snapshot_days" in CliRunner().invoke(app, ["prune", *chosen]).stdout
    assert files(folder) == before


def test_the_job_deletes_what_the_command_would(folder: Path) -> None:
    told = pruned(folder, "kept.yaml", "--dry-run")["pruned"]
    job = build_defs(load_experiment(folder / "kept.yaml"), folder / "home").resolve_job_def("prune")
    (folder / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "instance")) as instance:
        silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = job.execute_in_process(instance=instance, run_config=silent)
    assert result.success
    assert sum(row["count"] for row in told) > 0
    assert all(row["count"] == 0 for row in pruned(folder, "kept.yaml")["pruned"])


def test_the_schedule_is_there_and_starts_switched_off(folder: Path) -> None:
    schedule = build_defs(load_experiment(folder / "kept.yaml"), folder / "home").resolve_schedule_def("daily_prune")
    assert schedule.job_name == "prune"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
