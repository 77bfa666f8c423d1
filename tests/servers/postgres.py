"""A PostgreSQL server on 127.0.0.1, in a folder of its own: Debian's binaries, no container."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import held_port

__all__ = ["PostgresServer", "postgres_programs", "postgres_server"]

_SECONDS = 60
_USER = "crossattn"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs."""

    url: str
    """For SQLAlchemy: postgresql+psycopg2://..."""
    pid: int

    def cpu_seconds(self) -> float:
        """CPU time of the server and all its connections so far, those that ended included."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        own = _ticks(self.pid)
        return (sum(own) + sum(sum(_ticks(int(child))[:2]) for child in children)) / _TICKS


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres; none where PostgreSQL is not installed."""
    found = [Path(path).resolve().parent for name in ("initdb", "postgres") if (path := shutil.which(name))]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A fresh server in a folder of its own, for the length of the block; both end with it.

    PostgreSQL refuses to run as root: there it runs as 'nobody', whom pytest's own folders would not let through.
    """
    programs = postgres_programs()
    assert programs is not None, "PostgreSQL is not installed"
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            os.chown(folder, 65534, 65534)
        _run((*as_user, str(programs / "initdb"), "-D", f"{folder}/db", "-A", "trust", "-U", _USER, "--no-sync", "--locale=C"))
        with held_port() as port:
            options = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off")
            command = (*as_user, str(programs / "postgres"), "-D", f"{folder}/db", "-p", str(port), *options)
            with Path(folder, "log").open("wb") as log:
                server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd="/")
            try:
                url = f"postgresql+psycopg2://{_USER}@127.0.0.1:{port}/postgres"
                _wait_for(url, server)
                yield PostgresServer(url, server.pid)
            finally:
                server.send_signal(signal.SIGINT)  # "fast": does not wait for clients
                try:
                    server.wait(_SECONDS)
                finally:
                    server.kill()


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _wait_for(url: str, server: subprocess.Popen) -> None:
    import psycopg2

    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg2.connect(url.replace("+psycopg2", "")).close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("PostgreSQL did not start")


def _ticks(pid: int) -> list[int]:
    """User, system, and both of children that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return [0, 0, 0, 0]
    return [int(value) for value in fields[11:15]]
