"""The growth table of a line too short to trade: every part that it names is still where the clock looks for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench_growth import DAYS, LAST_DAY, growth_experiment


def test_a_market_of_any_size_has_four_followers_to_a_leader_and_ends_on_one_day() -> None:
    experiment = growth_experiment(11)
    leads = experiment.feed.simulated.leads
    assert [(lead.leader, lead.lag) for lead in leads] == [(f"A{5 * (n // 4):03d}USDT", (1, 3, 6, 12)[n % 4]) for n in range(8)]
    assert experiment.period.end == LAST_DAY
    assert (LAST_DAY - experiment.period.start).days == DAYS - 1


@pytest.mark.slow
def test_a_short_line_is_measured_stage_by_stage(tmp_path: Path) -> None:
    runs, page = tmp_path / "runs.jsonl", tmp_path / "growth.md"
    command = [sys.executable, "-m", "benchmarks.bench_growth", "--assets", "5", "--days", "95", "--runs", runs, "--out", page]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (run,) = map(json.loads, runs.read_text(encoding="utf-8").splitlines())
    assert run["calls"]["... fit_model"] >= 1
    assert {"... attribution", "... pair_evidence", "... lead_lag", "walk_forward", "write_report"} <= set(run["spent"])
    inside = sum(spent[0] for stage, spent in run["spent"].items() if not stage.startswith("..."))
    assert inside + sum(run["beside"].values()) == pytest.approx(run["total"][0], rel=0.05)
    table = page.read_text(encoding="utf-8")
    assert "| Dagster's own share of CPU | " in table
    assert "- | - |" not in table
