"""What the web UI loads: the workspace file and the shipped instance settings."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from crossattn_pipeline.instance import instance_settings

PROJECT = Path(__file__).parents[2]


def test_the_workspace_loads_the_code_location(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSATTN", "DAGSTER"))}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(PROJECT / "workspace.yaml")],
        cwd=tmp_path,
        env=environment | {"CROSSATTN_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crossattn" in done.stdout + done.stderr
    assert not (tmp_path / "home").exists(), "loading the graph must not found a home"


def test_the_shipped_instance_is_the_one_of_the_default_home() -> None:
    shipped = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    written = yaml.safe_load(instance_settings(".crossattn/dagster", in_postgres=False))
    assert shipped == written
