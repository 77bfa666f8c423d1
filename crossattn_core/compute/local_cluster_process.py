"""The process that holds a local Ray cluster: run as a script by ``local_cluster``, in a session of its own.

It starts Ray, prints ``ADDRESS <host:port>``, and waits until its standard input is closed or its parent is gone, which both
happen when the parent dies by whatever signal. Then it ends every process of its session and removes the cluster's folder:
Ray's raylet ends with its driver, its agents by themselves do not.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

__all__: list[str] = []

_LOOK_EVERY = 0.5
"""Seconds between two looks at the parent."""


def main(cpus: int) -> None:
    """Hold a cluster of so many CPUs until the parent is gone."""
    import ray  # not where a collector of doctests loads this file: Ray reads its switches when it is imported

    parent = os.getppid()
    signal.signal(signal.SIGTERM, _stop)
    # Ray's sockets lie in it, and their paths must be short.
    folder = tempfile.mkdtemp(prefix="crossattn-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
    try:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        print(f"ADDRESS {ray.get_runtime_context().gcs_address}", flush=True)  # noqa: T201  # the parent reads it
        _close_output()
        while os.getppid() == parent:
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], _LOOK_EVERY)
            if ready and not os.read(sys.stdin.fileno(), 1):
                break
        ray.shutdown()
    finally:
        for pid in _others_of_session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(_signal: int, _frame: object) -> NoReturn:
    sys.exit(1)


def _close_output() -> None:
    """Nobody reads on: a full pipe would stop the cluster."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(nowhere, stream.fileno())


def _others_of_session() -> Iterator[int]:
    """Every other process of this session, workers with process groups of their own among them (Linux; elsewhere none)."""
    session = os.getsid(0)
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid != os.getpid() and os.getsid(pid) == session:
                yield pid


if __name__ == "__main__":
    main(int(sys.argv[1]))
