"""Processes of the project that a test starts and ends as their user does: none outlives its test, whatever goes wrong."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.forks import PROJECT

__all__ = ["running"]

_SECONDS_TO_END = 300
_SECONDS_FOR_CHILDREN = 30


@contextmanager
def running(
    command: Sequence[str], log: Path, *, by: signal.Signals, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """A process for the length of the block, ended by the signal ``by``; what does not end by it is killed and fails the test.

    Args:
        log: where its output goes; its end is shown when the process ended by itself.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output)
    try:
        yield process
        assert process.poll() is None, log.read_text(encoding="utf-8")[-4000:]
    finally:
        _end(process, by)


def _end(process: subprocess.Popen, by: signal.Signals) -> None:
    children: list[psutil.Process] = []
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(by)
    try:
        process.wait(_SECONDS_TO_END)
    finally:
        process.kill()
        process.wait()
        for child in psutil.wait_procs(children, timeout=_SECONDS_FOR_CHILDREN)[1]:
            child.kill()
