"""A line that has only begun: live.yaml's timing, and the first days with forecasts, of which nothing is realised yet."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from crossattn_core import model_stages
from crossattn_core.experiment import load_experiment
from crossattn_core.line import Line
from crossattn_core.report.page import ReportPaths
from tests.small import export_line, small_experiment, write_market

START, MINIMUM_DAYS = date(2025, 3, 3), 10
LIVE = load_experiment(Path(__file__).parents[1] / "experiments" / "live.yaml")


def lived(folder: Path, days_with_forecasts: int, **sections: object) -> Line:
    """The small line, ``days_with_forecasts`` days after its first model; the first of these is a Thursday."""
    last = START + timedelta(days=MINIMUM_DAYS + days_with_forecasts - 1)
    write_market(folder / "market", str(last))
    experiment = small_experiment(
        folder / "market",
        period={"start": str(START), "end": str(last)},
        retrain={"minimum_days": MINIMUM_DAYS, "every_days": 2, "cooldown_days": 1},
        **sections,
    )
    line = export_line(experiment, folder / "home")
    model_stages.find_regimes(line)
    list(model_stages.walk_forward(line, START, last))
    model_stages.watch(line)
    model_stages.snapshot_attention(line, START, last)
    model_stages.decide_weights(line)
    return line


def reported(line: Line) -> tuple[dict, ReportPaths]:
    _, paths = model_stages.write_report(line)
    return json.loads(paths.json.read_text(encoding="utf-8")), paths


@pytest.mark.parametrize("days", [1, 3])
def test_the_page_of_the_first_days_is_written_and_claims_nothing(tmp_path: Path, days: int) -> None:
    line = lived(tmp_path, days)
    report, paths = reported(line)
    assert paths.html.stat().st_size > 10_000
    headline = report["verdict"]["headline"]
    assert "no family was shown to beat it" in headline or "not distinguishable from equal weight" in headline
    weights = pd.read_parquet(line.home.target_weights / "target_weights.parquet")
    assert weights["as_of"].nunique() == days


def test_live_hands_over_before_the_fill_and_the_whole_universe_is_open_then(tmp_path: Path) -> None:
    line = lived(
        tmp_path,
        1,
        portfolio={"volatility_hours": 96, "decision_hour": LIVE.portfolio.decision_hour},
        labels={"execution_lag": LIVE.labels.execution_lag},
    )
    newest = json.loads((line.home.target_weights / "newest.json").read_text(encoding="utf-8"))
    closed = datetime.combine(line.last_day + timedelta(days=1), datetime.min.time(), UTC)
    assert datetime.fromisoformat(newest["as_of"]) == closed
    assert datetime.fromisoformat(newest["fill_at"]) - closed == timedelta(hours=16)
    assert closed.weekday() < 5
    assert all(order["tradable"] for order in newest["weights"])
    assert sum(order["weight"] is not None for order in newest["weights"]) == len(line.experiment.assets)
    report, _ = reported(line)
    assert report["strategies"]
