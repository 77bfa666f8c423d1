"""An S3 server on 127.0.0.1 in a process of its own, and its environment."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import held_port

__all__ = ["BUCKET", "environment_of_s3", "s3_server"]

BUCKET = "crossattn"
_SECONDS = 60


@contextmanager
def s3_server(log: Path, **environment: str) -> Iterator[str]:
    """The server's endpoint, for the length of the block; the server ends with it.

    Args:
        environment: of the server: INITIAL_NO_AUTH_ACTION_COUNT=0 lets it refuse every key.
    """
    with held_port() as port, log.open("wb") as output:
        command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | environment
        )
        try:
            _wait_for(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(_SECONDS)


def environment_of_s3(endpoint: str) -> Mapping[str, str]:
    """What a client of the server finds in its environment."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-at-all",
    }


def _wait_for(server: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the S3 server did not start")
