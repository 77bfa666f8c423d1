"""Dagster's own command line over the project: ``dg`` finds the definitions, and what loads them ends without a word too many."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import PROJECT
from tests.pipeline.commands import environment_of

BIN = Path(sys.executable).parent


def called(*command: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = environment_of(home) | {"VIRTUAL_ENV": str(BIN.parent), "PYTHONPATH": str(PROJECT)} | variables
    program = str(BIN / command[0])
    return subprocess.run(
        (program, *command[1:]), cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.slow
def test_dg_lists_the_definitions(tmp_path: Path) -> None:
    listed = called("dg", "list", "defs", "--json", home=tmp_path)
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert {"forecasts", "marts/positions", "feature_windows"} <= {asset["asset_key"] for asset in found["assets"]}
    assert {"line", "data", "models"} <= {job["name"] for job in found["jobs"]}
    assert "leaked" not in listed.stderr


@pytest.mark.slow
def test_dg_checks_the_definitions(tmp_path: Path) -> None:
    checked = called("dg", "check", "defs", home=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "leaked" not in checked.stdout + checked.stderr


@pytest.mark.slow
def test_validation_says_nothing_of_leaks_and_a_failure_keeps_its_exit_code(tmp_path: Path) -> None:
    validated = called("dagster", "definitions", "validate", "-w", "workspace.yaml", home=tmp_path)
    assert validated.returncode == 0, validated.stderr
    assert "leaked" not in validated.stdout + validated.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("no_such_knob: 1\n")
    refused = called("dagster", "definitions", "validate", "-w", "workspace.yaml", home=tmp_path, CROSSATTN_EXPERIMENT=str(wrong))
    assert refused.returncode != 0
    assert "no_such_knob" in refused.stdout + refused.stderr
