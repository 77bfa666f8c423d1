"""The web UI as its users run it: ``crossattn ui`` in a process of its own, asked by GraphQL as the browser asks it."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.pipeline.commands import environment_of
from tests.pipeline.processes import running
from tests.servers.ports import held_port

__all__ = ["WebUI", "served"]

_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "crossattn"}


class WebUI:
    """A running web UI with its daemons."""

    def __init__(self, address: str, process: subprocess.Popen, log: Path) -> None:
        self.address, self.pid, self._process, self._log = address, process.pid, process, log

    def ask(self, query: str, **variables: Any) -> Any:
        """The one field that a GraphQL query or mutation asks for."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{query}: {refused.read().decode()}") from refused
        assert "errors" not in told, told
        (field,) = told["data"].values()
        return field

    def launch(self, job: str, assets: tuple[str, ...] = (), **tags: str) -> str:
        """Launch a job, or the assets of it, and give the run's id."""
        selector = {**_REPOSITORY, "jobName": job}
        if assets:
            selector["assetSelection"] = [{"path": asset.split("/")} for asset in assets]
        metadata = {"tags": [{"key": f"dagster/{name}", "value": value} for name, value in tags.items()]}
        launched = self.ask(
            """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            p={"selector": selector, "mode": "default", "runConfigData": {}, "executionMetadata": metadata},
        )
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def backfill(self, assets: tuple[str, ...], days: list[str]) -> str:
        """Launch a backfill of assets over days, and give its id."""
        params = {"assetSelection": [{"path": asset.split("/")} for asset in assets], "partitionNames": days}
        launched = self.ask(
            """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
                __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            p=params,
        )
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        """Dagster's word for where a backfill stands."""
        query = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
        return self.ask(query, id=backfill)["status"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Job, status and tags of a run."""
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { jobName status tags { key value } } } }"
        found = self.ask(query, id=run_id)
        return {**found, "tags": {tag["key"]: tag["value"] for tag in found["tags"]}}

    def runs(self, job: str) -> list[str]:
        """Ids of a job's runs, newest first."""
        query = "query($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { results { runId } } } }"
        return [run["runId"] for run in self.ask(query, f={"pipelineName": job})["results"]]

    def ticked(self, sensor: str) -> dict[str, Any]:
        """What a sensor would do now: its run requests, or why it skips."""
        tick = self.ask(
            """mutation($s: SensorSelector!) { sensorDryRun(selectorData: $s, cursor: null) { __typename
                ... on DryRunInstigationTick { evaluationResult {
                    runRequests { runKey jobName } skipReason error { message } } }
                ... on PythonError { message } } }""",
            s={**_REPOSITORY, "sensorName": sensor},
        )
        assert tick["__typename"] == "DryRunInstigationTick", tick
        return tick["evaluationResult"]

    def start_sensor(self, sensor: str) -> None:
        """Turn a sensor on, as its switch does."""
        query = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"""
        assert self.ask(query, s={**_REPOSITORY, "sensorName": sensor})["__typename"] == "Sensor"

    def sensor_status(self, sensor: str) -> str:
        """RUNNING or STOPPED."""
        query = "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { status } } } }"
        return self.ask(query, s={**_REPOSITORY, "sensorName": sensor})["sensorState"]["status"]

    def stale_status(self, asset: str, day: str) -> str:
        """Dagster's own mark on one day of an asset: FRESH, STALE or MISSING."""
        query = "query($k: [AssetKeyInput!]!, $d: String) { assetNodes(assetKeys: $k) { staleStatus(partition: $d) } }"
        (node,) = self.ask(query, k=[{"path": asset.split("/")}], d=day)
        return node["staleStatus"]

    def until(self, what: Callable[[], Any], wanted: Any, seconds: float = 600) -> None:
        """Wait until ``what()`` is ``wanted``; the server's log says what went wrong when it never is."""
        deadline = time.monotonic() + seconds
        while (found := what()) != wanted:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"{found!r}, not {wanted!r}, after {seconds:.0f} s\n{self.log()[-4000:]}"
            assert found not in ("FAILURE", "FAILED", "CANCELED"), self.log()[-4000:]
            time.sleep(0.5)

    def log(self) -> str:
        """All that web server and daemons wrote."""
        return self._log.read_text(encoding="utf-8")


@contextmanager
def served(experiment: Path, home: Path, folder: Path) -> Iterator[WebUI]:
    """``crossattn ui`` over a home on a free port, ended with all that it started."""
    with held_port() as port:
        command = (sys.executable, "-m", "crossattn_pipeline.cli", "ui", "--experiment", str(experiment), "--port", str(port))
        with running(command, folder / "ui.log", by=signal.SIGTERM, environment=environment_of(home)) as process:
            ui = WebUI(f"http://127.0.0.1:{port}", process, folder / "ui.log")
            ui.until(lambda: _answers(ui.address), True)
            yield ui
        assert process.returncode == 0, ui.log()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as page:
            return page.status == 200
    except OSError:
        return False
