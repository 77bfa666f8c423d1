"""Reports beside the web UI: their files, read-only, and nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from crossattn_pipeline.ui import is_free
from crossattn_pipeline.webserver import ReportFiles, WebServer, show_lineage
from tests.pipeline.commands import crossattn, environment_of
from tests.pipeline.processes import running
from tests.pipeline.test_listening import listening
from tests.servers.ports import held_port

_ODD_PATHS = [
    "/out/secret.txt",
    "/out/reports/../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/..\\secret.txt",
    "/./../secret.txt",
    "/2025-03-28/..//..//secret.txt",
    "/\0",
    "/" + "a" * 5000,
]
"""Ways out that a server may hand on decoded or not."""


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "reports"
    (folder / "2025-03-28").mkdir(parents=True)
    (folder / "2025-03-28" / "report.html").write_text("<h1>report</h1>")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path)
    return folder


def asked(folder: Path, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request, as a server hands it to the application."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    async def receive() -> dict:
        await asyncio.Event().wait()  # nobody hangs up
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    routes = [Mount("/reports", ReportFiles(folder)), Route("/lineage", show_lineage, methods=["GET"])]
    asyncio.run(Starlette(routes=routes)(scope, receive, send))
    head = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return head["status"], {name.decode(): value.decode() for name, value in head["headers"]}, body


def test_a_report_is_served_into_a_sandbox(reports: Path) -> None:
    status, headers, body = asked(reports, "/reports/2025-03-28/report.html")
    assert (status, body) == (200, b"<h1>report</h1>")
    assert headers["content-type"].startswith("text/html")
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/2025-03-28/../../secret.txt", "//etc/passwd", "/out.txt", "/", "/2025-03-28", *_ODD_PATHS]
)
def test_nothing_outside_the_folder_and_no_listing_is_served(reports: Path, path: str) -> None:
    status, _, body = asked(reports, f"/reports{path}")
    assert status in (400, 404, 405)
    assert b"secret" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "COPY"])
def test_reports_are_read_only(reports: Path, method: str) -> None:
    assert asked(reports, "/reports/2025-03-28/report.html", method)[0] == 405


def test_a_head_request_gives_the_headers_alone(reports: Path) -> None:
    status, headers, body = asked(reports, "/reports/2025-03-28/report.html", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == "15"


@pytest.mark.parametrize("name", ["page.svg", "page.html", "page.xml", "page.json", "page"])
def test_whatever_lies_in_the_folder_is_shut_in(reports: Path, name: str) -> None:
    (reports / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    status, headers, _ = asked(reports, f"/reports/{name}")
    assert status == 200
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_an_answer_that_refuses_shows_nothing_of_what_was_asked(reports: Path) -> None:
    _, _, body = asked(reports, "/reports/<script>alert(1)</script>")
    assert b"<script>" not in body


def test_the_column_lineage_is_drawn_into_the_same_sandbox_and_is_read_only(tmp_path: Path) -> None:
    status, headers, body = asked(tmp_path, "/lineage")
    assert (status, b"marts.positions" in body) == (200, True)
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert asked(tmp_path, "/lineage", "POST")[0] == 405


def test_a_home_without_a_report_answers_not_found(tmp_path: Path) -> None:
    assert asked(tmp_path / "none", "/reports/2025-03-28/report.html")[0] == 404


def test_the_command_makes_its_server_from_the_name_that_is_replaced() -> None:
    import inspect

    import dagster_webserver.app

    assert "DagsterWebserver(" in inspect.getsource(dagster_webserver.app.create_app_from_workspace_process_context)
    assert issubclass(WebServer, vars(dagster_webserver.app)["DagsterWebserver"])


@pytest.mark.slow
def test_the_ui_serves_the_report_refuses_a_second_set_and_ends_with_its_processes(ready_folder: Path, tmp_path: Path) -> None:
    import shutil

    home, small = tmp_path / "home", str(ready_folder / "small.yaml")
    shutil.copytree(ready_folder / "home", home)
    with held_port() as port:
        command = (sys.executable, "-m", "crossattn_pipeline.cli", "ui", "--experiment", small, "--port", str(port))
        with running(command, tmp_path / "log", by=signal.SIGTERM, environment=environment_of(home)) as process:
            page = f"http://127.0.0.1:{port}/reports/2025-03-28/report.html"
            assert b"<html" in _fetched(page, process)
            assert b"<html" in _fetched(f"http://127.0.0.1:{port}/", process)
            second = crossattn("ui", "--experiment", small, "--port", str(port + 1), home=home)
            assert (second.returncode, f"http://127.0.0.1:{port}" in second.stderr) == (1, True)
            processes = _family(process.pid)
            assert len(processes) >= 3, "this one, web server and daemon"
            assert set(listening(processes).values()) == {"0100007F"}, "on 127.0.0.1 alone"
            shown = crossattn("report", "--experiment", small, home=home)
            assert f"In the browser: {page}" in shown.stdout
        assert process.returncode == 0
        assert is_free(port)
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")
    assert os.path.exists(home / "dagster" / "ui.lock")


def _family(pid: int) -> set[int]:
    """A process and all that it started, whatever their sessions."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended in the meantime
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, new = {pid}, [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, []) if child not in found]
        found |= set(new)
    return found


def _fetched(address: str, process: subprocess.Popen) -> bytes:
    for _ in range(240):
        assert process.poll() is None, "the web UI ended"
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                return response.read()
        except OSError:
            time.sleep(1)
    pytest.fail(f"{address} did not answer")
