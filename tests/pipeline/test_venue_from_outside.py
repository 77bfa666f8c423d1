"""A venue of another package, named under the plug-in entry point, runs from fetch to report with its own costs and lag.

Its universe holds a perpetual and the spot market of one symbol.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.forks import PROJECT
from tests.pipeline.commands import environment_of
from tests.small import FIRST, LAST, small_experiment

PLUGIN = '''
"""Elsewhere: coins against dollars, hours, funding every eight of them."""

import zlib
from datetime import datetime

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import Feed, known_rows
from crossattn_core.experiment import VenueCosts
from crossattn_core.trading_calendar import ALWAYS_OPEN
from crossattn_core.universe import VENUES, Venue


class ElsewhereFeed(Feed):
    kind = "api"

    def __init__(self, settings, clock, grid):
        super().__init__()
        self._url, self._clock, self._grid = settings.url_of("elsewhere"), clock, grid

    def now(self):
        return self._clock()

    def window_days(self, asset, kind="candles"):
        return 30

    def origin(self, asset):
        return {"url": self._url}

    def candles(self, asset, start, end):
        opened = pd.date_range("2025-02-01", "2025-05-01", freq=self._grid.step)
        random = np.random.default_rng(zlib.crc32(asset.asset_id.encode()))
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.004, len(opened))))
        before = np.append(close[:1], close[:-1])
        rows = pd.DataFrame({"opened_at": opened, "closed_at": opened + self._grid.step, "open": before, "close": close})
        rows = rows.assign(high=np.maximum(before, close), low=np.minimum(before, close), volume=1e4, turnover=np.nan)
        self.traffic.count_request()
        return known_rows("candles", rows, asset, start, end, self._clock().replace(tzinfo=None))

    def funding(self, asset, start, end):
        rows = pd.DataFrame({"settled_at": pd.date_range("2025-02-01", "2025-05-01", freq="8h"), "rate": 1e-5})
        return known_rows("funding", rows, asset, start, end, self._clock().replace(tzinfo=None))


VENUES.add(
    "elsewhere",
    Venue(
        calendar=lambda asset: ALWAYS_OPEN,
        categories={"perpetual": ("candles", "funding"), "spot": ("candles",)},
        market="crypto",
        open_api=lambda settings, clock, backoff, grid: ElsewhereFeed(settings, clock, grid),
        costs=VenueCosts(fee_bps=21.0, half_spread_bps=4.0, slippage_bps=2.0),
        url="https://elsewhere.example",
        publication_lag_seconds=30,
        units="volume in coins",
    ),
)
'''


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and its entry point, as pip would leave them."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "venue_elsewhere.py").write_text(PLUGIN)
    about = folder / "venue_elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: venue-elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[crossattn.plugins]\nelsewhere = venue_elsewhere\n")
    settings = small_experiment(folder).model_dump(mode="json")
    settings["assets"] = [{"venue": "elsewhere", "symbol": symbol} for symbol in ("BTCUSD", "ETHUSD")]
    settings["assets"].append({"venue": "elsewhere", "symbol": "BTCUSD", "category": "spot"})
    settings["feed"] = {"kind": "api"}
    settings["costs"] = {"elsewhere": {"slippage_bps": 3.0}}
    (folder / "elsewhere.yaml").write_text(json.dumps(settings))
    return folder


@pytest.mark.slow
def test_a_venue_of_another_package_runs_from_fetch_to_report_at_its_own_costs(plugged: Path, tmp_path: Path) -> None:
    environment = environment_of(tmp_path) | {"PYTHONPATH": os.pathsep.join((str(PROJECT), str(plugged)))}

    def crossattn(*arguments: str) -> str:
        command = [sys.executable, "-m", "crossattn_pipeline.cli", *arguments, "--experiment", str(plugged / "elsewhere.yaml")]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    crossattn("run")
    status = [json.loads(row) for row in crossattn("candles", "status", "--json").splitlines()]
    days = len(pd.date_range(FIRST, LAST))
    stored = {(row["kind"], row["rows"], row["complete"]) for row in status}
    assert {row["asset_id"] for row in status if row["kind"] == "candles"} == {
        "elsewhere:perpetual:BTCUSD", "elsewhere:perpetual:ETHUSD", "elsewhere:spot:BTCUSD",
    }  # fmt: skip
    assert stored == {("candles", 24 * days, True), ("funding", 3 * days, True)}
    (page,) = tmp_path.glob("reports/*/report.html")
    assert "elsewhere:spot:BTCUSD" in page.read_text()
    (report,) = tmp_path.glob("reports/*/returns.parquet")
    returns = pd.read_parquet(report)
    traded = returns["turnover"] > 0
    assert traded.any()
    ratio = returns.loc[traded, ["fee_paid", "spread_paid", "slippage_paid"]].sum()
    assert (ratio / ratio["fee_paid"] * 21.0).round(6).to_dict() == {"fee_paid": 21.0, "spread_paid": 4.0, "slippage_paid": 3.0}
