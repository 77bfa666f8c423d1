"""The web UI from an empty home to a looked-at report: real web server, real daemons, GraphQL as the browser asks, Chromium."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.pipeline.commands import crossattn
from tests.pipeline.web_ui import WebUI, served
from tests.small import FIRST, LAST, small_experiment, write_market

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run")
DAY = "2025-03-20"
RANGE = {"asset_partition_range_start": FIRST, "asset_partition_range_end": LAST}
pytestmark = pytest.mark.slow


class Home:
    """Market, experiment and home of one module's tests, in which each test goes on where the one before it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.experiment = folder, folder / "home", folder / "small.yaml"
        write_market(folder / "market")
        settings = small_experiment(folder / "market").model_dump(mode="json")
        self.experiment.write_text(json.dumps(settings), encoding="utf-8")

    def crossattn(self, *arguments: str, code: int = 0) -> str:
        done = crossattn(*arguments, "--experiment", str(self.experiment), home=self.root)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("web_ui"))


@pytest.fixture(scope="module")
def ui(home: Home) -> Iterator[WebUI]:
    with served(home.experiment, home.root, home.folder) as running:
        yield running
    assert "Traceback" not in running.log()


def test_a_day_a_range_and_the_jobs_are_materialized_from_the_ui(ui: WebUI, home: Home) -> None:
    day = ui.launch("__ASSET_JOB", ("candles/yahoo",), partition=DAY)
    ui.until(lambda: ui.run(day)["status"], "SUCCESS")
    assert ui.stale_status("candles/yahoo", DAY) == "FRESH"
    assert ui.stale_status("candles/yahoo", FIRST) == "MISSING"
    for job in ("data", "models"):
        run = ui.launch(job, **RANGE)
        ui.until(lambda run=run: ui.run(run)["status"], "SUCCESS")
    assert ui.stale_status("candles/yahoo", FIRST) == "FRESH"
    assert home.crossattn("stale").strip() == "Everything is up to date; nothing to recompute."


def test_a_backfill_remakes_its_days_and_ends(ui: WebUI) -> None:
    backfill = ui.backfill(("aligned/bars", "features/trailing"), ["2025-03-10", "2025-03-11"])
    ui.until(lambda: ui.backfill_status(backfill), "COMPLETED_SUCCESS")


@pytest.mark.parametrize(
    "sensor", ["new_complete_day", "regime_change", "drift_or_degradation", "missing_days", "missing_forecasts"]
)
def test_a_sensor_ticks_and_tells_why_it_requests_nothing(ui: WebUI, sensor: str) -> None:
    tick = ui.ticked(sensor)
    assert tick["error"] is None
    assert tick["runRequests"] or tick["skipReason"]


def test_an_adopted_revision_is_stale_in_the_ui_and_its_sensor_runs_what_rests_on_it(ui: WebUI, home: Home) -> None:
    path = home.folder / "market" / "bybit_1h" / "ETHUSDT.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows.index[-2], "close"] *= 1.0001
    rows.to_parquet(path, index=False)
    home.crossattn("candles", "refetch", "--symbols", "ETHUSDT", "--start", LAST, "--end", LAST, code=3)
    home.crossattn("candles", "adopt", "--symbol", "ETHUSDT", "--start", LAST, "--end", LAST)
    day = ui.launch("__ASSET_JOB", ("candles/bybit",), partition=LAST)
    ui.until(lambda: ui.run(day)["status"], "SUCCESS")
    assert ui.stale_status("aligned/bars", LAST) == "STALE"
    assert ui.stale_status("aligned/bars", DAY) == "FRESH"
    assert "candles" in (ui.ticked("what_is_stale")["skipReason"] or "")
    stale = ui.launch("run_stale")
    ui.until(lambda: ui.run(stale)["status"], "SUCCESS")
    assert home.crossattn("stale").strip() == "Everything is up to date; nothing to recompute."


@pytest.fixture(scope="module")
def pages(ui: WebUI, home: Home) -> Iterator["Pages"]:
    if not BROWSER:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        yield Pages(browser.new_page(viewport={"width": 1500, "height": 950}), ui.address, home.folder)
        browser.close()


class Pages:
    """One browser tab over the running UI, and what its console complained about."""

    def __init__(self, page, address: str, folder: Path) -> None:
        self.page, self._address, self._folder = page, address, folder
        self.complaints: list[str] = []
        page.set_default_timeout(180_000)
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def shows(self, path: str, *words: str) -> str:
        """Open a path and wait until every one of the words is there; the text of the page."""
        self.complaints.clear()
        self.page.goto(f"{self._address}{path}", wait_until="domcontentloaded")
        for word in words:
            self.page.get_by_text(word).first.wait_for(state="attached")
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=self._folder / f"{re.sub(r'[^a-z0-9]+', '_', path.lower())}.png")
        assert self.complaints == []
        return self.page.inner_text("body")


ASSETS = {
    "candles/bybit": "as first published after each closed",
    "features/trailing": "features",
    "feature_windows": "Latest check results",
    "forecasts": "from the model in force",
    "attention_snapshot": "net_leadership",
    "target_weights": "champion",
    "backtest_report": "net of costs",
}
"""Asset -> words of its page."""


@pytest.mark.parametrize("asset", ASSETS)
def test_an_assets_page_opens_without_a_complaint(pages: Pages, asset: str) -> None:
    pages.shows(f"/assets/{asset}", "Latest materialization", ASSETS[asset])
    pages.page.wait_for_function(
        "last => /ago/.test(document.body.innerText) || document.body.innerText.includes(last)", arg=LAST
    )


def test_overview_graph_partitions_and_a_run_open_without_a_complaint(pages: Pages, ui: WebUI) -> None:
    pages.shows("/overview/activity/timeline", "crossattn", "run_stale")
    groups = ("candles", "warehouse", "panel", "models", "attention", "portfolio", "marts")
    pages.shows("/asset-groups", *groups, "Materialize all")
    pages.shows("/assets/forecasts?view=partitions", "Materialized (28)", "Missing (0)")
    (newest, *_) = ui.runs("models")
    pages.shows(f"/runs/{newest}", newest[:8], "attention_snapshot", "Success")


def test_the_report_opens_through_the_link_on_its_asset(pages: Pages) -> None:
    pages.shows("/assets/backtest_report", "Latest materialization")
    link = pages.page.locator("a[href*='/reports/']").first
    address = link.get_attribute("href")
    assert address is not None
    text = pages.shows(re.sub(r"^https?://[^/]+", "", address), "Sharpe")
    assert "small" in text
    assert pages.page.locator("svg, img").count() > 3
