"""What the web UI costs: seconds to its first page, memory of its processes, and each page as a browser loads it.

    python -m benchmarks.bench_ui HOME experiments/demo.yaml

HOME is one that ``crossattn run`` made. Chromium opens each page in a new tab until its words are there; CPU is that of web
server, daemons and code server meanwhile, for wall time is the machine's business. Needs playwright and a Chromium.
"""

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run")
PAGES = {
    "/overview/activity/timeline": "crossattn",
    "/asset-groups": "Materialize all",
    "/assets/candles/bybit": "Latest materialization",
    "/assets/features/trailing": "Latest materialization",
    "/assets/feature_windows": "Latest materialization",
    "/assets/forecasts": "Latest materialization",
    "/assets/attention_snapshot": "Latest materialization",
    "/assets/backtest_report": "Latest materialization",
    "/assets/forecasts?view=partitions": "Materialized",
    "/runs/{run}": "RUN_SUCCESS",
}
"""Page -> words that are there once it is."""
NEWEST_RUN = '{runsOrError(filter: {pipelineName: "models"}, limit: 1) {... on Runs {results {runId}}}}'
MB = 1e6


ROLES = {"crossattn_pipeline.webserver": "web server", "dagster._daemon": "daemon", "crossattn_pipeline.cli": "command"}
"""Part of a command line -> who that is; what else runs serves code."""


class Served:
    """A running ``crossattn ui``."""

    def __init__(self, address: str, process: psutil.Process) -> None:
        self.address, self._process = address, process

    def processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """What runs, with its role."""
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                role = next((role for part, role in ROLES.items() if part in command), "code server")
                yield role, process

    def memory(self) -> dict[str, float]:
        """Role -> proportional set size of its processes, bytes."""
        held: dict[str, float] = {}
        for role, process in self.processes():
            with suppress(psutil.Error, AttributeError):
                held[role] = held.get(role, 0) + process.memory_full_info().pss
        return held

    def cpu(self) -> float:
        """CPU seconds of all of them so far."""
        total = 0.0
        for _, process in self.processes():
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:2])
        return total

    def ask(self, query: str) -> dict:
        """Answer to a GraphQL query."""
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]


@contextmanager
def served(home: str, experiment: str) -> Iterator[tuple[Served, float]]:
    """``crossattn ui`` on a free port, and the seconds until its first page; ended with all that it started."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ("crossattn_pipeline.cli", "ui", "--home", home, "--experiment", experiment, "--port", str(port))
    started = time.monotonic()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen((sys.executable, "-m", *command), cwd=HERE.parent, **silent)
    ui = Served(f"http://127.0.0.1:{port}", psutil.Process(running.pid))
    try:
        while running.poll() is None:
            with suppress(OSError):
                ui.ask("{version}")
                break
            time.sleep(0.1)
        yield ui, time.monotonic() - started
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(timeout=120)


def load(browser: Browser, ui: Served, path: str, words: str) -> tuple[float, float, int, float]:
    """Wall seconds, CPU seconds, GraphQL requests and MB of their answers until a page shows its words."""
    page = browser.new_page(viewport={"width": 1500, "height": 950})
    answers: list = []
    page.on("response", lambda response: "/graphql" in response.url and answers.append(response))
    before, started = ui.cpu(), time.monotonic()
    page.goto(f"{ui.address}{path}", wait_until="domcontentloaded")
    page.get_by_text(words).first.wait_for(state="attached", timeout=60_000)
    page.wait_for_load_state("networkidle")
    wall, cpu = time.monotonic() - started - 0.5, ui.cpu() - before  # idle is half a second without a request
    size = sum(len(answer.body()) for answer in answers) / MB
    page.close()
    return wall, cpu, len(answers), size


def main() -> None:
    """Measure, print the tables and write ``results_ui.md``."""
    parser = argparse.ArgumentParser(description="What the web UI costs.")
    parser.add_argument("home")
    parser.add_argument("experiment")
    parser.add_argument("--seconds", type=float, default=90, help="how long memory is watched")
    chosen = parser.parse_args()
    with served(chosen.home, chosen.experiment) as (ui, first), sync_playwright() as playwright:
        run = ui.ask(NEWEST_RUN)["runsOrError"]["results"][0]["runId"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        load(browser, ui, "/overview", "crossattn")  # the browser's own cache
        rows = [(path, *load(browser, ui, path.format(run=run), words)) for path, words in PAGES.items()]
        browser.close()
        before, watched, deadline = ui.cpu(), [], time.monotonic() + chosen.seconds
        while time.monotonic() < deadline:
            watched.append(ui.memory())
            time.sleep(2)
        idle = (ui.cpu() - before) / chosen.seconds
    most = max(watched, key=lambda held: sum(held.values()))
    roles = ", ".join(f"{role} {size / MB:.0f}" for role, size in sorted(most.items()))
    mean = sum(sum(held.values()) for held in watched) / len(watched) / MB
    text = f"First page after {first:.1f} s. Memory over {chosen.seconds:.0f} s without a visitor, PSS in MB: mean {mean:.0f}, "
    text += f"most {sum(most.values()) / MB:.0f} ({roles}); {idle:.2f} CPU seconds a second.\n\n"
    text += "| page | wall s | CPU s of the servers | GraphQL requests | MB |\n|---|---|---|---|---|\n"
    text += "".join(f"| `{path}` | {wall:.1f} | {cpu:.1f} | {asked} | {size:.2f} |\n" for path, wall, cpu, asked, size in rows)
    (HERE / "results_ui.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
