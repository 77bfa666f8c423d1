"""Nothing that crossattn starts listens beyond this machine unless someone asks for it."""

import socket
from pathlib import Path

import pytest

from crossattn_pipeline import ui
from tests.forks import PROJECT

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 and ::1 as /proc/net/tcp writes them."""


def listening(pids: set[int]) -> dict[str, str]:
    """Inode -> address (as the kernel writes it) of every TCP socket on which one of the processes listens."""
    opened: set[str] = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                opened.add(str(handle.readlink()).removeprefix("socket:[").rstrip("]"))
            except OSError:
                continue  # closed in the meantime
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[9]: row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in opened}


def test_the_probe_tells_a_socket_on_every_address_from_one_on_loopback() -> None:
    import os

    before = set(listening({os.getpid()}).values()) - LOOPBACK
    with socket.socket() as wide, socket.socket() as local:
        for opened, host in ((wide, "0.0.0.0"), (local, "127.0.0.1")):  # what the probe has to find
            opened.bind((host, 0))
            opened.listen()
        found = set(listening({os.getpid()}).values())
    assert found - LOOPBACK - before == {"00000000"}
    assert "0100007F" in found


def test_the_web_ui_is_started_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, tuple[str, ...]] = {}
    for name in ("DAGSTER_HOME", "CROSSATTN_EXPERIMENT", "CROSSATTN_HOME"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setattr(ui, "_watch", lambda commands, code, lock: started.update(commands))
    ui.serve(None, tmp_path / "home", 3994)
    web, daemon = started["web server"], started["daemon"]
    assert web[web.index("--host") + 1] == "127.0.0.1"
    assert "--host" not in daemon, "the daemon listens to nobody"


def test_no_file_of_the_packages_names_an_address_beyond_loopback() -> None:
    sources = [path for folder in ("crossattn_core", "crossattn_pipeline") for path in (PROJECT / folder).rglob("*.py")]
    named = [path.name for path in sources if "0.0.0.0" in path.read_text(encoding="utf-8")]
    assert named == []
