"""Dagster's web server with two things beside it, read-only: the home's reports (``/reports/<day>/report.html``), and the page
that draws the experiment's column lineage (``/lineage``).

Both hold scripts of their own. They are served into a sandbox, where those reach neither the UI's GraphQL nor any address.
"""

import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread

import dagster_webserver.app
import dagster_webserver.cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from crossattn_core.home import Home
from crossattn_pipeline.instance import home_from
from crossattn_pipeline.metadata import LINEAGE_PATH, REPORTS_PATH
from crossattn_pipeline.newest_days import page_from_the_end

__all__ = ["ReportFiles", "WebServer", "main", "show_lineage"]

_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_DRAWING = Lock()


class ReportFiles(StaticFiles):
    """The files below a folder, whatever is written there later; nothing above it, and no link out of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False, follow_symlink=False)

    async def check_config(self) -> None:
        """A home without a report has no folder yet."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """GET or HEAD of a file, with headers that shut its scripts in."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


class WebServer(DagsterWebserver):
    """Dagster's web server; what is beside it goes before its own routes, of which the last answers every path."""

    def build_routes(self) -> list[BaseRoute]:
        """The reports of the environment's home, the lineage of its experiment, then Dagster's."""
        reports = ReportFiles(Home(home_from(os.environ)).reports)
        lineage = Route(LINEAGE_PATH, show_lineage, methods=["GET"], name="lineage")
        return [Mount(REPORTS_PATH, reports, name="reports"), lineage, *super().build_routes()]


def show_lineage(_: Request) -> Response:
    """The page of the column lineage, drawn once."""
    return HTMLResponse(_draw_lineage(), headers=_HEADERS)


def _draw_lineage() -> str:
    with _DRAWING:
        return _lineage()


@cache
def _lineage() -> str:
    """By a process that ends: what it loads, PyTorch among it, would stay with the server, which needs none of it."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "lineage.html"
        command = (sys.executable, "-m", "crossattn_pipeline.cli", "lineage", "--page", str(page))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return page.read_text(encoding="utf-8")


def main() -> None:
    """``dagster-webserver`` with its options, serving ``WebServer``; before them ``--after PATH``, a socket that it waits for."""
    page_from_the_end()
    if sys.argv[1:2] == ["--after"]:
        _wait_for(Path(sys.argv[2]))
        del sys.argv[1:3]
    Thread(target=_draw_lineage, name="lineage", daemon=True).start()  # drawn before somebody asks
    # The name that the command makes its server from.
    dagster_webserver.app.DagsterWebserver = WebServer  # pyright: ignore[reportPrivateImportUsage]
    dagster_webserver.cli.main()


def _wait_for(socket: Path) -> None:
    """Until the code server listens; whoever started both ends this process where it does not come."""
    try:
        while not socket.exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
