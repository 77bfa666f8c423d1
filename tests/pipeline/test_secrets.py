"""No secret of the environment comes into output, logs, run metadata, manifests, receipts or messages."""

import json
import shutil
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import dagster as dg
import pytest

from crossattn_core.candles.feeds.bybit import BybitFeed
from crossattn_core.candles.feeds.feed import Feed
from crossattn_core.candles.feeds.yahoo import YahooFeed
from crossattn_core.errors import CrossattnError, ExperimentError, FeedError
from crossattn_core.experiment import Experiment, FeedSettings, load_experiment
from crossattn_core.universe import Asset
from crossattn_pipeline.sensors import failure_alert
from tests.forks import forked
from tests.pipeline.commands import environment_of, main
from tests.pipeline.test_automation import fail

MARKER = "s3cr3t-6d1f0a"
BTC, AAPL = Asset(venue="bybit", symbol="BTCUSDT"), Asset(venue="yahoo", symbol="AAPL")
SECRETS = {
    "CROSSATTN_ALERT_URL": f"http://127.0.0.1:9/hook/{MARKER}",
    "BYBIT_API_KEY": MARKER,
    "BYBIT_API_SECRET": MARKER,
    "AWS_ACCESS_KEY_ID": MARKER,
    "AWS_SECRET_ACCESS_KEY": MARKER,
    "DAGSTER_POSTGRES_PASSWORD": MARKER,
    "DAGSTER_POSTGRES_URL": f"postgresql://crossattn:{MARKER}@127.0.0.1:9/dagster",
    "HTTP_PROXY": f"http://crossattn:{MARKER}@127.0.0.1:9",
    "HTTPS_PROXY": f"http://crossattn:{MARKER}@127.0.0.1:9",
}


def crossattn(*arguments: str, home: Path) -> CompletedProcess[str]:
    return forked(main, *arguments, environment=environment_of(home) | SECRETS)


def holding(folder: Path) -> list[str]:
    """Files below ``folder`` in whose bytes the marker stands."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARKER.encode() in path.read_bytes()]


@pytest.mark.slow
def test_runs_leave_no_secret_in_the_home_or_in_what_they_print(ready_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(ready_folder / "home", tmp_path / "home")
    small = ("--experiment", str(ready_folder / "small.yaml"))
    done = [crossattn(*command, *small, home=tmp_path / "home") for command in (("backtest",), ("doctor", "--port", "3995"))]
    assert [process.returncode for process in done] == [0, 0], done[0].stdout + done[0].stderr
    assert (tmp_path / "home" / "dagster" / "history" / "runs.db").is_file(), "the run is on record"
    assert MARKER not in "".join(process.stdout + process.stderr for process in done)
    assert holding(tmp_path) == []


@pytest.mark.parametrize(
    ("opened", "asset"),
    [(BybitFeed, BTC), (lambda settings: YahooFeed(settings, lambda: datetime(2025, 3, 5, tzinfo=UTC)), AAPL)],
)
def test_a_source_that_fails_behind_a_proxy_is_told_without_the_proxys_password(
    opened: Callable[[FeedSettings], Feed], asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    nowhere = "http://127.0.0.1:9"
    settings = FeedSettings(bybit_url=nowhere, yahoo_url=nowhere, max_attempts=1, timeout_seconds=1)
    with pytest.raises(FeedError) as failed:
        opened(settings).candles(asset, datetime(2025, 3, 3), datetime(2025, 3, 4))
    shown = "".join(traceback.format_exception(failed.value))  # what Dagster's log of the step holds
    assert MARKER not in shown


def test_an_alert_that_cannot_be_sent_is_told_without_its_address(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(CrossattnError) as refused:
        fail(instance, {}, failure_alert(tmp_path, SECRETS["CROSSATTN_ALERT_URL"]))
    assert "the address in CROSSATTN_ALERT_URL did not take the alert" in str(refused.value)
    chain: BaseException | None = refused.value
    while chain is not None:
        assert MARKER not in str(chain)
        chain = chain.__cause__
    assert len(list((tmp_path / "alerts").glob("*.json"))) == 1


@pytest.mark.parametrize(
    "feed",
    [
        {"bybit_url": f"https://user:{MARKER}@api.bybit.com"},
        {"urls": {"yahoo": f"https://{MARKER}@query1.finance.yahoo.com"}},
        {"yahoo_url": f"https://query1.finance.yahoo.com/?token={MARKER}"},
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(tmp_path: Path, feed: dict) -> None:
    (tmp_path / "live.yaml").write_text(json.dumps({"feed": {"kind": "api"} | feed}), encoding="utf-8")
    with pytest.raises(ExperimentError, match="an experiment holds no secret") as refused:
        load_experiment(tmp_path / "live.yaml")
    assert MARKER not in str(refused.value)


@pytest.mark.parametrize("address", ["api.bybit.com", "file:///etc/passwd", "ftp://api.bybit.com", "https://"])
def test_an_address_is_one_of_the_web(address: str) -> None:
    with pytest.raises(ValueError, match="an address is http://host or https://host"):
        Experiment.model_validate({"feed": {"bybit_url": address}})
