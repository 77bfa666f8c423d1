"""A file of the home that is not what was written is refused by its name, with what to do; what that says is true."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from crossattn_core import data_stages, model_stages
from crossattn_core.errors import CheckpointError, HomeError
from crossattn_core.experiment import load_experiment
from crossattn_core.families.checkpoint import has_weights, read_manifest
from crossattn_core.home import Home, open_home
from crossattn_core.line import Line
from crossattn_core.storage import read_json, read_parquet
from tests.pipeline.commands import crossattn, refused
from tests.small import past

EXPLAIN = ("explain", "--day", "2025-03-28", "--symbol", "BTCUSDT")
BROKEN = (b"", b"junk" * 20, b"[1, 2]", bytes(range(256)))


@pytest.fixture
def small(ready_folder: Path) -> str:
    return str(ready_folder / "small.yaml")


@pytest.fixture
def home(ready_folder: Path, tmp_path: Path) -> Path:
    """A copy of the home where everything was made."""
    return Path(shutil.copytree(ready_folder / "home", tmp_path / "home"))


@pytest.mark.parametrize("content", [*BROKEN, b"{}", b"[" * 100_000])
def test_json_that_is_not_what_was_written_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "named.json"
    path.write_bytes(content)
    with pytest.raises(HomeError, match=r"named\.json: damaged .*; do this"):
        read_json(path, "do this", ["key"])
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json", "do this")


@pytest.mark.parametrize("content", BROKEN)
def test_parquet_that_is_not_what_was_written_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "named.parquet"
    path.write_bytes(content)
    with pytest.raises(HomeError, match=r"(?s)named\.parquet: damaged .*; do this"):
        read_parquet(path, "do this")
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet", "do this")


@pytest.mark.parametrize(
    ("file", "content", "command", "remedy"),
    [
        ("home.json", b"[1, 2]", ("stale",), "restore it or choose another folder"),
        ("walk_forward/plan/2025-03-28.json", b"{}", EXPLAIN, "'crossattn run' steps the day again"),
        ("walk_forward/plan/2025-03-28.json", b"[1, 2]", ("review",), "'crossattn run' steps the day again"),
        ("walk_forward/predictions/2025-03-28.parquet", b"", EXPLAIN, "'crossattn run' steps the day again"),
        ("walk_forward/events.json", b"{}", ("overrides", "list"), "overrides must not be forgotten"),
        ("weights/champion.parquet", b"junk", EXPLAIN, "'crossattn backtest' writes it again"),
        ("target_weights/target_weights.parquet", b"", ("review",), "'crossattn backtest' writes it again"),
        ("attention/2025-03-15.parquet", b"junk", ("leaders",), "restore it from a backup"),
        ("panel/index.json", b"[1, 2]", EXPLAIN, "restore it from a backup"),
    ],
)
def test_a_command_that_meets_a_damaged_file_says_what_to_do(
    home: Path, small: str, file: str, content: bytes, command: tuple[str, ...], remedy: str
) -> None:
    (home / file).write_bytes(content)
    refused(crossattn(*command, "--experiment", small, home=home), f"{home / file}: damaged", remedy)


@pytest.mark.parametrize(("file", "content"), [("report.json", b"{}"), ("report.json", b"junk"), ("leads.json", b"[]")])
def test_a_damaged_report_is_refused_before_half_of_it_is_shown(
    home: Path, small: str, file: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    from crossattn_pipeline.commands.report import show_report
    from crossattn_pipeline.commands.terminal import Output

    (home / "reports" / "2025-03-28" / file).write_bytes(content)
    experiment = load_experiment(Path(small))
    line = Line(experiment, open_home(home, experiment), clock=past)
    with pytest.raises(HomeError, match="'crossattn report --day 2025-03-28' writes it again"):
        show_report(line, Output())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("walk_forward", "walk_forward/plan/2025-03-27.json"),
        ("walk_forward", "walk_forward/predictions/2025-03-27.parquet"),
        ("feature_windows", "panel/days/2025-03-27.parquet"),
    ],
)
def test_a_day_whose_file_was_deleted_is_made_again(home: Path, small: str, stage: str, name: str) -> None:
    experiment = load_experiment(Path(small))
    line = Line(experiment, open_home(home, experiment), clock=past)
    assert line.staleness.stale_days(stage) == []
    before = (home / name).read_bytes()
    (home / name).unlink()
    line = Line(experiment, open_home(home, experiment), clock=past)
    stale = line.staleness.stale_days(stage)
    assert stale[0] == date(2025, 3, 27)
    if stage == "walk_forward":
        list(model_stages.walk_forward(line, stale[0], stale[-1]))
    else:
        data_stages.export_windows(line, stale[0], stale[-1])
    assert (home / name).read_bytes() == before


def test_a_truth_that_was_deleted_is_written_again_though_no_candle_is_missing(tmp_path: Path) -> None:
    chosen = ("fetch", "--end", "2025-01-02")
    home, written = tmp_path / "home", []
    for _ in range(2):
        assert crossattn(*chosen, "--experiment", "experiments/demo.yaml", home=home).returncode == 0
        (path,) = home.glob("lake/*/truth.json")
        written.append(path.read_bytes())
        path.unlink()
    assert written[0] == written[1]


@pytest.mark.parametrize("content", [b"junk", b"[1, 2]", b"{}"])
def test_a_model_with_a_damaged_manifest_has_no_weights_to_serve(home: Path, content: bytes) -> None:
    folder = next(Home(home).models.iterdir())
    assert has_weights(folder)
    (folder / "manifest.json").write_bytes(content)
    assert not has_weights(folder)
    with pytest.raises(CheckpointError, match="train"):
        read_manifest(folder)


def test_doctor_finds_what_a_command_would_stumble_over(home: Path, small: str) -> None:
    (home / "walk_forward" / "events.json").write_bytes(b"{}")
    (home / "home.json").unlink()
    (home / "home.json").mkdir()
    done = crossattn("doctor", "--experiment", small, "--json", home=home)
    failed = {row["check"]: row["message"] for row in map(json.loads, done.stdout.splitlines()) if not row["passed"]}
    assert done.returncode == 1
    assert {"home", "receipts"} <= failed.keys()
    assert "events.json: damaged" in failed["receipts"]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(("pattern", "shown"), [("cache.json", "cache.json"), ("1/feature.bin", "1")])
def test_a_damaged_cache_of_the_panel_is_made_again_once_it_is_deleted(home: Path, small: str, pattern: str, shown: str) -> None:
    (cache,) = (home / "panel" / "cache").iterdir()
    (cache / pattern).write_bytes(b"junk")
    refused(crossattn(*EXPLAIN, "--experiment", small, home=home), f"{cache / shown}: damaged", f"delete {cache}")
    shutil.rmtree(cache)
    assert crossattn(*EXPLAIN, "--experiment", small, home=home).returncode == 0
