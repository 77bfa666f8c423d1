"""Dagster's web server with the home's reports beside it: ``/reports/<day>/report.html``, read-only.

A report holds scripts of its own. It is served into a sandbox, where they reach neither the UI's GraphQL nor any address.
"""

import os
from pathlib import Path

import dagster_webserver.app
import dagster_webserver.cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from crossattn_core.home import Home
from crossattn_pipeline.instance import home_from
from crossattn_pipeline.metadata import REPORTS_PATH

__all__ = ["ReportFiles", "WebServer", "main"]

_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


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
    """Dagster's web server; the reports go before its own routes, of which the last answers every path."""

    def build_routes(self) -> list[BaseRoute]:
        """The reports of the environment's home, then Dagster's."""
        reports = ReportFiles(Home(home_from(os.environ)).reports)
        return [Mount(REPORTS_PATH, reports, name="reports"), *super().build_routes()]


def main() -> None:
    """``dagster-webserver`` with its options, serving ``WebServer``."""
    # The name that the command makes its server from.
    dagster_webserver.app.DagsterWebserver = WebServer  # pyright: ignore[reportPrivateImportUsage]
    dagster_webserver.cli.main()


if __name__ == "__main__":
    main()
