"""``crossattn backup`` and ``restore`` as a script runs them, and results published after a run."""

import json
import shutil
from pathlib import Path

import pytest

from crossattn_core.backup.publish import PUBLISHED
from crossattn_core.storage import sha256_of
from tests.forks import forked
from tests.pipeline.commands import crossattn, environment_of


def _events(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [event for line in done.stdout.splitlines() if (event := json.loads(line))["event"] != "progress"]


def test_a_home_goes_to_a_folder_and_comes_back(ready_folder: Path, tmp_path: Path) -> None:
    place, restored = str(tmp_path / "backups"), tmp_path / "restored"
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    command = ("backup", place, "--experiment", str(ready_folder / "small.yaml"), "--json")
    (first,) = _events(crossattn(*command, home=tmp_path / "home"))
    assert first["event"] == "backed_up"
    assert first["sent_files"] > 100
    (second,) = _events(crossattn(*command, home=tmp_path / "home"))
    assert (second["sent_files"], second["name"], second["is_new"]) == (0, first["name"], False)
    assert _events(crossattn(*command, "--list", home=tmp_path / "home")) == [{"event": "backup", "backup": first["name"]}]
    (verified,) = _events(crossattn(*command, "--verify", home=tmp_path / "home"))
    assert verified == {"event": "verified", "backup": first["name"], "files": first["files"]}
    (back,) = _events(crossattn("restore", place, str(restored), "--json", home=tmp_path / "home"))
    assert back["files"] == first["files"]
    assert (restored / "settings" / "small.yaml").read_bytes() == (ready_folder / "small.yaml").read_bytes()
    again = crossattn("restore", place, str(restored), home=tmp_path / "home")
    assert again.returncode == 1
    assert "is not empty" in again.stderr


def test_a_home_that_is_not_there_is_not_backed_up_nor_made(ready_folder: Path, tmp_path: Path) -> None:
    place = f"file://{tmp_path}/nothing"
    listed = crossattn("backup", place, "--list", home=tmp_path / "home")
    assert (listed.returncode, listed.stderr.strip()) == (1, f"BackupError: {tmp_path}/nothing: there is no such folder")


@pytest.mark.parametrize("command", [("backup",), ("backup", "--list"), ("restore", "restored")])
def test_credentials_in_the_address_are_refused_and_not_repeated(tmp_path: Path, command: tuple[str, ...]) -> None:
    name, *rest = command
    refused = crossattn(name, "s3://key-id/and:a/secret-of-mine@bucket/x", *rest, home=tmp_path / "home")
    assert refused.returncode == 1
    assert "holds no credentials" in refused.stderr
    assert "secret-of-mine" not in refused.stdout + refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("place", ["published", "/proc/no/such"])
def test_weights_and_page_are_published_after_a_run_which_never_fails_by_it(
    ready_folder: Path, tmp_path: Path, place: str
) -> None:
    home, target = tmp_path / "home", tmp_path / place
    shutil.copytree(ready_folder / "home", home)
    environment = environment_of(home) | {"CROSSATTN_PUBLISH_URL": str(target)}
    done = forked(_backtest, str(ready_folder / "small.yaml"), environment=environment)
    assert done.returncode == 0, done.stderr
    if place != "published":
        assert not target.exists()
        return
    files = json.loads((target / PUBLISHED).read_text(encoding="utf-8"))["files"]
    assert {"target_weights/newest.json", "target_weights/target_weights.csv", "reports/2025-03-28/report.html"} <= set(files)
    for path, sha256 in files.items():
        assert sha256_of((target / path).read_bytes()) == sha256 == sha256_of((home / path).read_bytes())


def _backtest(experiment: str) -> None:
    import sys

    from crossattn_pipeline.cli import main

    sys.argv = ["crossattn", "backtest", "--experiment", experiment]
    main()
