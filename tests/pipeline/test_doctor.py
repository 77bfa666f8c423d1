"""``crossattn doctor``: what is in order, and each fault with its remedy."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossattn_pipeline.cli import app


@pytest.fixture
def home(ready_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def checked(ready_folder: Path, home: Path):
    def run(*more: str) -> tuple[int, dict[str, tuple[bool, str]]]:
        chosen = ("--experiment", str(ready_folder / "small.yaml"), "--home", str(home), "--port", "3997")
        done = CliRunner().invoke(app, ["doctor", "--json", *chosen, *more])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        rows = [json.loads(row) for row in done.stdout.splitlines()]
        return done.exit_code, {row["check"]: (row["passed"], row["message"]) for row in rows}

    return run


def test_a_home_in_order_passes_every_check(checked) -> None:
    code, found = checked()
    assert list(found) == ["versions", "experiment", "home", "receipts", "lake", "ledger", "source", "history", "port", "clock"]
    assert [name for name, (passed, _) in found.items() if not passed] == []
    assert code == 0


def test_a_home_that_is_not_there_yet_is_no_fault_and_is_not_founded(checked, tmp_path: Path) -> None:
    code, found = checked("--home", str(tmp_path / "new"))
    assert code == 0, found
    assert "not there yet; 'crossattn run' makes it" in found["home"][1]
    assert not (tmp_path / "new").exists()


def test_each_fault_is_told_with_its_remedy(checked, home: Path, tmp_path: Path) -> None:
    lake = home / "lake" / "files"
    next(path for path in sorted(lake.rglob("*.parquet"))).unlink()
    (home / "receipts.sqlite").write_bytes(b"no database" * 100)
    (home / "tuning").mkdir(exist_ok=True)
    (home / "tuning" / "trials.jsonl").write_text("{\n")
    code, found = checked()
    assert code == 1
    assert "files are gone" in found["lake"][1]
    assert "damaged" in found["receipts"][1]
    assert "restore it, trials must not be forgotten" in found["ledger"][1]
    (tmp_path / "file").touch()
    assert "is a file, not a folder" in checked("--home", str(tmp_path / "file"))[1]["home"][1]


def test_a_clock_before_the_newest_candle_was_fetched_is_a_fault(checked, home: Path) -> None:
    import sqlite3

    with sqlite3.connect(home / "lake" / "files" / "ledger.sqlite") as connection:
        connection.execute("update coverage set fetched_at = '2999-01-01T00:00:00.000000'")
    code, found = checked()
    assert code == 1
    assert "set the machine's clock" in found["clock"][1]


def test_a_typo_in_the_experiment_and_a_missing_folder_are_faults(checked, ready_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("training: {epoch: 3}\n")
    code, found = checked("--experiment", str(tmp_path / "typo.yaml"))
    assert (code, list(found)) == (1, ["versions", "experiment"])
    assert "did you mean 'epochs'?" in found["experiment"][1]
    settings = json.loads((ready_folder / "small.yaml").read_text(encoding="utf-8"))
    settings["feed"]["folder"] = str(tmp_path / "nowhere")
    (tmp_path / "away.yaml").write_text(json.dumps(settings))
    code, found = checked("--experiment", str(tmp_path / "away.yaml"))
    assert (code, found["source"][0]) == (1, False)
    assert "no such folder" in found["source"][1]
