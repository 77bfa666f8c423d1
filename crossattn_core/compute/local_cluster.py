"""A Ray cluster of this process: on 127.0.0.1, without dashboard and usage statistics, behind a token, gone when the process is.

The cluster lives in a process of its own (``local_cluster_process``), which is a session leader and watches this one: killed in
any way, a driver leaves no process and no folder behind.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Self

from crossattn_core.errors import ComputeError

__all__ = ["LocalCluster", "prepare_loopback"]

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own switch by which it takes 127.0.0.1 for a node's address, where it would take the outward one and listen on it."""

_SECONDS_TO_START = 300
_SECONDS_TO_END = 30


def prepare_loopback() -> None:
    """Tell Ray, which reads it when it is imported, to stay on 127.0.0.1, to send no statistics, to ask for our token.

    Raises:
        ComputeError: Ray was imported before, without being told.
    """
    if "ray" in sys.modules and os.environ.get(_LOOPBACK) != "0":
        raise ComputeError(
            "ray was imported before crossattn could bind it to 127.0.0.1; import it later, call ray.init() before the run, or "
            "name a cluster in compute.address"
        )
    os.environ |= {_LOOPBACK: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}


@cache
def _token() -> str:
    return secrets.token_hex(32)


class LocalCluster:
    """Ray on this machine, from ``start`` to ``stop``."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self.address = address
        """Of its head: 127.0.0.1 and a free port."""

    @classmethod
    def start(cls, cpus: int) -> Self:
        """Start a cluster of ``cpus`` CPUs; takes seconds.

        Raises:
            ComputeError: Ray does not start, or not in time; what it said is quoted.
        """
        script = Path(__file__).with_name("local_cluster_process.py")
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        said: list[str] = []
        # It ends by itself where Ray fails; where Ray hangs, it is ended.
        watchdog = threading.Timer(_SECONDS_TO_START, _end, [process])
        watchdog.daemon = True
        watchdog.start()
        try:
            for line in process.stdout or ():
                if line.startswith("ADDRESS "):
                    return cls(process, line.split()[1])
                said.append(line)
            process.wait()
        finally:
            watchdog.cancel()
        raise ComputeError("Ray does not start on this machine; its last words:\n" + "".join(said[-12:]))

    @property
    def session(self) -> int:
        """The session id that its processes share."""
        return self._process.pid

    def stop(self) -> None:
        """End it with all of its processes."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        _wait_or_kill(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    _wait_or_kill(process)


def _wait_or_kill(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
