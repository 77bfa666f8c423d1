"""``stale`` and ``run --accept-code`` as a user meets them, over a home in which the whole line ran."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from crossattn_core.code_hash import code_index
from crossattn_pipeline.cli import app
from tests.pipeline.commands import crossattn
from tests.small import FIRST, LAST

UP_TO_DATE = "Everything is up to date; nothing to recompute."
BEHIND_THE_PANEL = {"walk_forward", "monitoring", "attention_snapshot", "target_weights", "backtest_report"}


@pytest.fixture
def longer(ready_folder: Path, tmp_path: Path) -> Path:
    """Another experiment file over the same home: one more epoch."""
    settings = json.loads((ready_folder / "small.yaml").read_text(encoding="utf-8"))
    settings["training"]["epochs"] = 2
    path = tmp_path / "longer.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def test_where_nothing_changed_everything_is_up_to_date(ready_folder: Path) -> None:
    experiment = ("--experiment", str(ready_folder / "small.yaml"))
    done = crossattn("stale", *experiment, "--why", home=ready_folder / "home")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, UP_TO_DATE, "")
    machine = crossattn("stale", *experiment, "--json", home=ready_folder / "home")
    assert (machine.returncode, machine.stdout) == (0, "")


def test_a_changed_knob_makes_the_stages_that_depend_on_it_stale(ready_folder: Path, longer: Path) -> None:
    done = crossattn("stale", "--experiment", str(longer), home=ready_folder / "home")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line.partition(":")[0] for line in lines} == BEHIND_THE_PANEL
    assert {"walk_forward: 28 days", "backtest_report"} <= set(lines)


def test_why_names_the_knob_with_both_values_for_its_days(ready_folder: Path, longer: Path) -> None:
    done = crossattn("stale", "--why", "--experiment", str(longer), home=ready_folder / "home")
    assert f"walk_forward: 28 days ({FIRST} .. {LAST}), training.epochs 1 -> 2" in done.stdout.splitlines()
    assert "target_weights: walk_forward is stale: training.epochs 1 -> 2" in done.stdout.splitlines()


def test_for_machines_each_stale_stage_is_a_json_line_within_the_days_that_were_given(ready_folder: Path, longer: Path) -> None:
    options = ("--experiment", str(longer), "--start", "2025-03-27", "--json")
    done = crossattn("stale", *options, home=ready_folder / "home")
    assert done.returncode == 0, done.stderr
    stale = {row["stage"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(stale) == BEHIND_THE_PANEL
    assert stale["walk_forward"] == {
        "event": "stale",
        "stage": "walk_forward",
        "partitions": ["2025-03-27", "2025-03-28"],
        "why": ["walk_forward: 2 days (2025-03-27 .. 2025-03-28), training.epochs 1 -> 2"],
    }
    assert stale["monitoring"]["partitions"] == ["all"]


def test_accepted_code_keeps_every_result_and_is_shown_from_then_on(
    ready_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ready_folder / "home", tmp_path / "home")

    def runs(*arguments: str) -> Result:
        where = ("--experiment", str(ready_folder / "small.yaml"), "--home", str(tmp_path / "home"))
        done = CliRunner().invoke(app, [*arguments, *where], env={"COLUMNS": "200"})
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    loss = code_index().modules["training.loss"].read_text(encoding="utf-8")
    refactored = code_index().with_sources({"training.loss": loss + "\nMOVED = 1\n"})
    monkeypatch.setattr("crossattn_core.stages.code_index", lambda: refactored)
    changed = f"walk_forward: 28 days ({FIRST} .. {LAST}), training/loss.py changed"
    assert changed in runs("stale", "--why").stdout.splitlines()

    page = tmp_path / "home" / "reports" / LAST / "report.html"
    before = page.stat().st_mtime_ns
    done = runs("run", "--accept-code", "--note", "a constant moved")
    assert "walk_forward: code accepted" in done.stdout.splitlines()
    assert UP_TO_DATE in done.stdout
    assert f"Report: {page}" in done.stdout
    assert page.stat().st_mtime_ns == before

    first, *accepted = runs("stale", "--why").stdout.splitlines()
    assert first == UP_TO_DATE
    (line,) = [line for line in accepted if line.startswith("walk_forward: code accepted on 20")]
    assert line.endswith(" UTC, a constant moved")
    assert runs("stale").stdout.strip() == UP_TO_DATE
    rows = [json.loads(row) for row in runs("stale", "--why", "--json").stdout.splitlines()]
    assert {(row["event"], row["note"]) for row in rows} == {("accepted_code", "a constant moved")}
    assert {"stage", "code", "same_as", "at"} <= rows[0].keys()
    assert "walk_forward" in {row["stage"] for row in rows}
