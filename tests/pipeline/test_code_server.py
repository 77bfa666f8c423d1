"""One code server for web server and daemons: it loads again what was edited, and the command ends when it dies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from crossattn_pipeline import code_server
from crossattn_pipeline.code_server import CodeServer, source_files
from tests.forks import PROJECT
from tests.pipeline.commands import environment_of
from tests.pipeline.test_webserver import _family
from tests.pipeline.web_ui import served


class Answer:
    """A call that has ended, well or not."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def exception(self) -> Exception | None:
        return self._error


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text("name: small")
    os.utime(path, ns=(1, 1))
    return path


@pytest.fixture
def code(tmp_path: Path, edited: Path, monkeypatch: pytest.MonkeyPatch) -> CodeServer:
    """One that has answered, and is looked at whenever it is asked."""
    monkeypatch.setattr(code_server, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(code_server, "source_files", list)
    code = CodeServer(tmp_path, edited)
    code.has_answered = True
    monkeypatch.setattr(code, "_call", lambda method: Answer())
    return code


def test_an_edited_experiment_is_loaded_once_it_is_no_longer_being_written(code: CodeServer, edited: Path) -> None:
    assert code.reload_what_changed() == []
    for written in (2, 3):
        os.utime(edited, ns=(written, written))
        assert code.reload_what_changed() == []
    assert code.reload_what_changed() == [edited]
    assert code.reload_what_changed() == []


def test_a_file_that_is_written_again_as_it_was_loads_nothing(code: CodeServer, edited: Path) -> None:
    for written in (2, 1, 1):
        os.utime(edited, ns=(written, written))
        assert code.reload_what_changed() == []


def test_nothing_is_loaded_again_before_it_was_loaded(code: CodeServer, edited: Path) -> None:
    code.has_answered = False
    os.utime(edited, ns=(2, 2))
    assert [code.reload_what_changed() for _ in range(3)] == [[], [], []]


def test_one_silence_is_forgiven_and_two_are_not(code: CodeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    code.socket.touch()
    monkeypatch.setattr(code, "_call", lambda method: Answer(TimeoutError()))
    found = []
    for _ in range(4):
        code._next_ask = 0.0
        found.append(code.is_dead())
    assert found == [False, False, False, True], "each is asked, then heard"


def test_code_sql_and_templates_are_watched() -> None:
    watched = {path.relative_to(PROJECT).as_posix() for path in source_files()}
    assert {"crossattn_core/stages.py", "crossattn_pipeline/definitions.py", "dbt_like_sql/stored.sql"} <= watched
    assert any(name.endswith(".j2") for name in watched)


def test_web_server_and_daemon_are_given_the_same_code_server_under_the_name_of_the_workspace_file(code: CodeServer) -> None:
    (location,) = yaml.safe_load(code.workspace.read_text())["load_from"]
    (shipped,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["socket"] == str(code.socket)
    assert location["grpc_server"]["location_name"] == shipped["python_module"]["location_name"]
    assert shipped["python_module"]["module_name"] in code.command


@pytest.mark.slow
def test_one_code_server_loads_an_edited_experiment_and_the_command_ends_with_its_reason_when_it_dies(
    ready_folder: Path, tmp_path: Path
) -> None:
    home, small = tmp_path / "home", tmp_path / "small.yaml"
    shutil.copytree(ready_folder / "home", home)
    shutil.copy(ready_folder / "small.yaml", small)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "crossattn_pipeline.cli", "ui", "--experiment", str(small), "--port", str(port))
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=PROJECT, env=environment_of(home), stdout=log, stderr=log)
    try:
        _until(lambda: b"dagster._daemon" in _commands(running.pid))
        (first,) = _servers(running.pid)
        small.write_text(small.read_text() + " ")
        _until(lambda: len(_servers(running.pid)) == 1 and first not in _servers(running.pid))
        started = _family(running.pid)
        (second,) = _servers(running.pid)
        os.kill(second, signal.SIGKILL)
        assert running.wait(timeout=90) == 1
    finally:
        running.kill()
    told = (tmp_path / "log").read_text()
    assert "small.yaml changed: the definitions are loaded again" in told
    assert "CrossattnError: the code server answers no more" in told
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), seconds=60)


@pytest.mark.slow
def test_the_ui_still_reloads_the_code_location_and_a_sensor_that_was_on_is_on_after_a_restart(
    ready_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    with served(ready_folder / "small.yaml", tmp_path / "home", tmp_path) as ui:
        (first,) = _servers(ui.pid)
        reload = 'mutation {reloadRepositoryLocation(repositoryLocationName: "crossattn") {__typename}}'
        assert ui.ask(reload)["__typename"] == "WorkspaceLocationEntry"
        _until(lambda: len(_servers(ui.pid)) == 1 and first not in _servers(ui.pid))
        assert ui.ticked("what_is_stale")["error"] is None
        ui.start_sensor("missing_days")
    with served(ready_folder / "small.yaml", tmp_path / "home", tmp_path) as ui:
        assert ui.sensor_status("missing_days") == "RUNNING"


def _commands(pid: int) -> bytes:
    """The command lines of all that a process started."""
    return b"\n".join(_command(each) for each in _family(pid))


def _servers(pid: int) -> set[int]:
    """The processes among them that hold definitions."""
    return {each for each in _family(pid) if b"api\0grpc" in _command(each)}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _until(holds, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
