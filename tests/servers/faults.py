"""What can go wrong between a client and a source, on purpose and by seed."""

import random
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

HTML = b"<html><body><h1>Bad gateway</h1></body></html>"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    path: str
    query: dict[str, str]
    fault: str


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in mid-answer is what some tests are about."""


class FaultyServer(ABC):
    """A server on 127.0.0.1 whose answers a subclass gives and whose faults a test chooses.

    Args:
        share: share of requests that fail, drawn by ``seed``.
        kinds: which faults those are (see ``_spoil``).
        script: faults for the first requests, '' for none, before ``share`` takes over.
    """

    def __init__(self, *, share: float = 0.0, kinds: tuple[str, ...] = (), script: tuple[str, ...] = (), seed: int = 0) -> None:
        self.asked: list[Asked] = []
        self._share, self._kinds, self._script = share, kinds, list(script)
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @abstractmethod
    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """What a subclass says to a request that no fault befalls."""

    def is_faulty_path(self, path: str) -> bool:
        """Whether faults apply to this path."""
        return True

    def refusal(self, fault: str) -> Answer | None:
        """The source's own way to say a fault; None where HTTP says it."""
        return None

    def script(self, *faults: str) -> None:
        """Faults for the next requests."""
        with self._lock:
            self._script = list(faults)

    def _fault(self, path: str) -> str:
        if not self.is_faulty_path(path):
            return ""
        with self._lock:
            if self._script:
                return self._script.pop(0)
            return self._random.choice(self._kinds) if self._random.random() < self._share else ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                fault = server._fault(parts.path)
                with server._lock:
                    server.asked.append(Asked(parts.path, query, fault))
                answer = server.refusal(fault) or _spoilt(fault)
                if fault == "dropped":
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault == "slow":
                    time.sleep(0.4)
                answer = answer or server.answer(parts.path, query)
                if fault == "truncated":
                    answer = Answer(answer.body[: len(answer.body) // 2])
                if fault == "wrong_type":
                    answer = Answer(HTML, content_type="text/html")
                self.respond(answer, cut=fault == "cut_short")

            def respond(self, answer: Answer, *, cut: bool) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                # 'cut_short': the promised length never comes.
                self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
                if cut:
                    self.close_connection = True
                    self.wfile.flush()
                    self.connection.close()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return server.date() or super().date_time_string(timestamp)

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler

    def date(self) -> str:
        """The ``Date`` header; empty for the machine's."""
        return ""


def _spoilt(fault: str) -> Answer | None:
    if fault == "429":
        return Answer(b"Too Many Requests", 429, "text/plain")
    if fault == "500":
        return Answer(HTML, 500, "text/html")
    if fault == "503":
        return Answer(b"", 503, "text/plain")
    if fault == "401":
        return Answer(b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}', 401)
    if fault == "403":
        return Answer(HTML, 403, "text/html")
    if fault == "empty_body":
        return Answer(b"")
    return None
