"""The simulated candles that come with the project: their bytes, their size, and a run from a clone without recorded ones."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from crossattn_core.candles.simulated_folder import write_simulated
from crossattn_core.experiment import load_experiment
from tests.forks import PROJECT
from tests.pipeline.commands import crossattn

SAMPLE = PROJECT / "experiments" / "sample.yaml"
FOLDER = PROJECT / "experiments" / "sample_candles"
MAX_BYTES = 2_000_000


def test_the_files_are_what_the_command_beside_them_writes_byte_for_byte(tmp_path: Path) -> None:
    written = {path.relative_to(tmp_path): path.read_bytes() for path in write_simulated(load_experiment(SAMPLE), tmp_path)}
    shipped = {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*.csv")}
    assert written == shipped
    assert sum(map(len, shipped.values())) < MAX_BYTES


def test_the_files_are_labelled_as_simulated() -> None:
    assert "No price here was ever paid" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert SAMPLE.read_text(encoding="utf-8").startswith("# Simulated candles saved as files")


def test_the_command_writes_any_experiments_market_and_refuses_an_open_period(tmp_path: Path) -> None:
    chosen = tmp_path / "short.yaml"
    chosen.write_text("period: {start: 2025-03-01, end: 2025-03-02}\n", encoding="utf-8")
    done = crossattn(
        "candles", "simulate", "--experiment", str(chosen), "--into", str(tmp_path / "files"), "--json", home=tmp_path / "home"
    )
    assert done.returncode == 0, done.stderr
    files = [Path(path) for path in json.loads(done.stdout)["files"]]
    assert files[0].read_text(encoding="utf-8").startswith("timestamp,open,high,low,close,volume\n2025-03-01T00:00Z,")
    assert not (tmp_path / "home").exists()
    chosen.write_text("period: {start: 2025-03-01, end: null}\n", encoding="utf-8")
    done = crossattn(
        "candles", "simulate", "--experiment", str(chosen), "--into", str(tmp_path / "files"), home=tmp_path / "home"
    )
    assert done.returncode == 1
    assert "period.end is open" in done.stderr


def test_candles_of_the_shipped_set_pass_from_a_clone(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "experiments" / "sample_candles")
    shutil.copy(SAMPLE, tmp_path / "experiments" / "sample.yaml")
    chosen = ("--experiment", str(tmp_path / "experiments" / "sample.yaml"), "--end", "2025-01-05")
    done = crossattn("fetch", *chosen, home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert crossattn("candles", "status", *chosen, home=tmp_path / "home").returncode == 0


def _make_recorded(folder: Path) -> list[str]:
    """What ``make recorded`` prints in ``folder`` with a command that only says what it was called with."""
    folder.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, folder / name)
    command = folder / ".venv" / "bin" / "crossattn"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "called: $CROSSATTN_HOME $*"\n', encoding="utf-8")
    command.chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # not a make's own make
    done = subprocess.run(["make", "recorded"], cwd=folder, env=alone, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_make_recorded_says_first_what_to_put_where_and_takes_the_shipped_set(tmp_path: Path) -> None:
    said = _make_recorded(tmp_path / "clone")
    assert said[0].startswith("No recorded candles: put bybit_1h/<SYMBOL>.parquet and yahoo_1h/<SYMBOL>.parquet")
    assert "into ../shared/data" in said[0]
    assert "experiments/sample.yaml" in said[0]
    assert said[-1] == "called: .crossattn-sample run --experiment experiments/sample.yaml"


def test_make_recorded_takes_recorded_candles_where_they_are(tmp_path: Path) -> None:
    for folder in ("bybit_1h", "yahoo_1h"):
        (tmp_path / "shared" / "data" / folder).mkdir(parents=True)
        (tmp_path / "shared" / "data" / folder / "BTCUSDT.parquet").touch()
    said = _make_recorded(tmp_path / "clone")
    assert said[0] == "Recorded candles of ../shared/data (experiments/recorded.yaml)."
    assert said[-1] == "called: .crossattn-recorded run --experiment experiments/recorded.yaml"


def test_the_makefile_and_the_experiment_name_one_folder() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    (named,) = [line.removeprefix("RECORDED := ") for line in makefile.splitlines() if line.startswith("RECORDED := ")]
    assert load_experiment(PROJECT / "experiments" / "recorded.yaml").feed.folder == str((PROJECT / named).resolve())


@pytest.mark.slow
def test_the_whole_line_runs_on_the_shipped_set_and_names_the_planted_leads(tmp_path: Path) -> None:
    done = crossattn("run", "--experiment", str(SAMPLE), home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    leads = json.loads(next((tmp_path / "home" / "reports").glob("*/leads.json")).read_text(encoding="utf-8"))["leads"]
    planted = {(lead.leader, lead.follower, lead.lag) for lead in load_experiment(SAMPLE).feed.simulated.leads}
    assert planted <= {(lead["leader"], lead["follower"], lead["lag_bars"]) for lead in leads if lead["named"]}
