"""A port of 127.0.0.1 that nobody else is given until the test's own server listens on it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["held_port"]


@contextmanager
def held_port() -> Iterator[int]:
    """A free port, held for the length of the block: the system gives it to no other process, and a server may listen on it.

    On Linux a socket that is bound and does not listen lets another that sets SO_REUSEADDR, as servers do, bind beside it.
    Elsewhere the port is merely free when the block begins.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        # Only now: bound with it, the system could give the port to two holders.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = holder.getsockname()[1]
        if not sys.platform.startswith("linux"):
            holder.close()
        yield port
