"""``experiments/live.yaml``: ten perpetuals and eight stocks, from both venues to the hand-over."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from crossattn_core.experiment import load_experiment
from tests.pipeline.commands import crossattn
from tests.servers.market import serving

LIVE = Path(__file__).parents[2] / "experiments" / "live.yaml"

QUICK = {
    "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1},
    "training": {"epochs": 1, "warm_epochs": 1, "stride": 4},
    "regimes": {"minimum_days": 10, "volatility_days": 3, "confirm_days": 2},
    "baselines": {"momentum_hours": 48, "volatility_hours": 96, "ridge_lags": 6},
    "backtest": {"bootstrap_samples": 50},
    "analysis": {"permutations": 20, "window_days": 14, "max_lag": 6},
}


def test_live_trades_ten_perpetuals_and_eight_stocks_without_a_last_day() -> None:
    live = load_experiment(LIVE)
    assert Counter((asset.venue, asset.category) for asset in live.assets) == {("bybit", "linear"): 10, ("yahoo", "equity"): 8}
    assert live.feed.kind == "api"
    assert live.period.end is None
    assert all(asset.sector not in ("crypto", "stocks") for asset in live.assets), "each has a sector of its own choice"


def test_the_doctor_finds_nothing_wrong_with_live(tmp_path: Path) -> None:
    done = crossattn("doctor", "--json", "--experiment", str(LIVE), "--port", "3996", home=tmp_path / "home")
    found = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 assets" in found["experiment"]["message"]
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_the_live_universe_goes_from_both_venues_to_a_hand_over(tmp_path: Path) -> None:
    def clock() -> datetime:
        return datetime.now(UTC)

    today = clock().date()
    settings = yaml.safe_load(LIVE.read_text(encoding="utf-8"))
    settings["period"]["start"] = str(today - timedelta(days=24))
    settings["retrain"] |= {"minimum_days": 21, "cooldown_days": 1}
    (tmp_path / "live.yaml").write_text(yaml.safe_dump(settings | QUICK), encoding="utf-8")
    experiment = load_experiment(tmp_path / "live.yaml")
    with serving(experiment, today, clock) as urls:
        settings["feed"]["urls"] = urls
        (tmp_path / "live.yaml").write_text(yaml.safe_dump(settings | QUICK), encoding="utf-8")
        done = crossattn("run", "--experiment", str(tmp_path / "live.yaml"), home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    newest = json.loads((tmp_path / "home" / "target_weights" / "newest.json").read_text(encoding="utf-8"))
    assert today <= date.fromisoformat(newest["as_of"][:10]) <= clock().date()
    assert {row["asset_id"] for row in newest["weights"]} == {asset.asset_id for asset in experiment.assets}
    assert newest["fill_at"] == f"{date.fromisoformat(newest['as_of'][:10])}T16:00:00Z"
