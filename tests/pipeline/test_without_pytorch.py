"""What reads and shows starts without PyTorch, which takes a second and a hundred megabytes to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import PROJECT
from tests.pipeline.commands import environment_of

READS = """
import sys
from pathlib import Path
from crossattn_core.experiment import load_experiment
named = {"model": {"cross_attention": "sparse", "own_branch": "gru"}, "retrain": {"families": ["attention", "lstm", "ridge_var"]}}
load_experiment(Path("experiments/demo.yaml"), named)
import crossattn_core.inspections, crossattn_core.model_stages
print("torch" in sys.modules)
"""
LISTS = """
import sys
from crossattn_pipeline.definitions import defs
defs().get_repository_def()
print("torch" in sys.modules)
"""
SHOWS = """
import json, sys
from crossattn_pipeline.cli import app
for arguments in json.loads(sys.argv[1]):
    app([*arguments, "--experiment", sys.argv[2]], standalone_mode=False)
    assert "torch" not in sys.modules, arguments
print("torch" in sys.modules)
"""
COMMANDS = (
    ("stale", "--why"),
    ("candles", "status"),
    ("candles", "quarantine"),
    ("candles", "revisions"),
    ("doctor",),
    ("review",),
    ("leaders",),
    ("explain", "--symbol", "ETHUSDT", "--day", "2025-03-27"),
    ("lineage", "marts.positions.target_weight"),
    ("overrides", "list"),
    ("report",),
)


def loaded(home: Path, code: str, *arguments: str) -> str:
    """What a process with this code prints last."""
    command = (sys.executable, "-c", code, *arguments)
    done = subprocess.run(
        command, cwd=PROJECT, env=environment_of(home), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "leaked" not in done.stderr
    return done.stdout.split()[-1]


def test_an_experiment_is_read_and_its_stages_are_known(tmp_path: Path) -> None:
    assert loaded(tmp_path, READS) == "False"


@pytest.mark.slow
def test_definitions_are_listed_and_nothing_is_said_of_leaks_at_the_end(tmp_path: Path) -> None:
    assert loaded(tmp_path, LISTS) == "False"


@pytest.mark.slow
def test_commands_that_read_a_home_show_it(ready_folder: Path) -> None:
    assert loaded(ready_folder / "home", SHOWS, json.dumps(COMMANDS), str(ready_folder / "small.yaml")) == "False"
