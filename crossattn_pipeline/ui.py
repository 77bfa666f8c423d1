"""The web UI and the daemons on 127.0.0.1, over one home: processes of Dagster's, watched by this one.

Web server and daemons share one code server, which alone holds the definitions and all that they import. While one of them lives,
a lock beside Dagster's storage keeps a second set away from the same instance.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from crossattn_core.errors import CrossattnError, HomeError
from crossattn_core.home import check_writable, open_home
from crossattn_core.storage import write_json
from crossattn_pipeline.code_server import CodeServer
from crossattn_pipeline.instance import (
    EXPERIMENT_VARIABLE,
    HOME_VARIABLE,
    adopt_instance,
    experiment_from,
    experiment_path,
    home_from,
)

__all__ = ["HOST", "is_free", "serve", "served_port"]

HOST = "127.0.0.1"
_SECONDS_TO_STOP = 30.0
_MAX_LOOKS, _SECONDS_BETWEEN_LOOKS = 10, 0.05


def serve(experiment_file: Path | None, home_root: Path | None, port: int) -> None:
    """Run web server, daemons and their code server until Ctrl-C, a termination signal, or the end of one of them.

    Raises:
        HomeError: the home's daemons run already.
        CrossattnError: the port is taken, or one of the processes ended by itself.
    """
    experiment = experiment_from(os.environ, experiment_file)
    home = open_home(home_from(os.environ, home_root), experiment)
    check_writable(home)
    instance = adopt_instance(home)
    os.environ[HOME_VARIABLE] = str(home.root)
    if experiment_file is not None:
        os.environ[EXPERIMENT_VARIABLE] = str(experiment_file.resolve())
    with _only_one(instance, port) as lock, TemporaryDirectory(prefix="crossattn-") as folder:
        if not is_free(port):
            raise CrossattnError(f"port {port} on {HOST} is taken by another program; choose another, as in --port {port + 1}")
        code = CodeServer(Path(folder), experiment_path(os.environ))
        workspace = ("--workspace", str(code.workspace))
        address = ("--host", HOST, "--port", str(port))
        commands = {
            "code server": code.command,
            "web server": ("crossattn_pipeline.webserver", "--after", str(code.socket), *address, *workspace),
            "daemon": ("dagster._daemon", "run", *workspace),
        }
        _watch(commands, code, lock)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def served_port(instance: Path) -> int | None:
    """The port of the web UI that runs over a Dagster instance's folder; none where none runs, or one is just starting."""
    lock, written = instance / "ui.lock", instance / "ui.json"
    if not lock.exists():
        return None
    with lock.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(json.loads(written.read_text(encoding="utf-8"))["port"]) if written.is_file() else None
    return None


@contextmanager
def _only_one(instance: Path, port: int) -> Iterator[int]:
    """The lock's descriptor, held as long as this process or one that inherits it lives."""
    lock = os.open(instance / "ui.lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if not _took(lock):
            port_there = served_port(instance)
            there = f"http://{HOST}:{port_there}" if port_there else "they are starting"
            raise HomeError(f"the web UI and daemons of {instance} run already: {there}; use that one, or end it first")
        write_json(instance / "ui.json", {"port": port})
        yield lock
    finally:
        os.close(lock)


def _took(lock: int) -> bool:
    """Lock the file for this process alone; False where another one keeps it. ``served_port`` lets go of it at once."""
    for _ in range(_MAX_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        else:
            return True
    return False


def _watch(commands: dict[str, tuple[str, ...]], code: CodeServer, lock: int) -> None:
    """Start a process for each command (``python -m``), wait for the end of one or of this one, and end the others."""
    running: dict[str, subprocess.Popen] = {}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while all(process.poll() is None for process in running.values()):
            for name, command in commands.items():
                # The daemon can wait: until the definitions are loaded it has nothing to do, and the first page needs the CPU.
                if name not in running and (name != "daemon" or code.has_answered):
                    # In a session of its own: Ctrl-C reaches this process alone, which passes it on once.
                    arguments = (sys.executable, "-m", *command)
                    running[name] = subprocess.Popen(arguments, start_new_session=True, pass_fds=(lock,))
            if code.is_dead():
                raise CrossattnError("the code server answers no more: its process that holds the definitions ended (memory?)")
            if changed := code.reload_what_changed():
                sys.stderr.write(f"{', '.join(path.name for path in changed[:3])} changed: the definitions are loaded again\n")
            time.sleep(0.2)
        ended = next(name for name, process in running.items() if process.poll() is not None)
        raise CrossattnError(f"the {ended} ended by itself (code {running[ended].returncode}); its last lines above say why")
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
        code.close()
        # Those that ask the code server go before it.
        _end([process for name, process in running.items() if name != "code server"])
        _end([process for name, process in running.items() if name == "code server"])


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _SECONDS_TO_STOP
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
