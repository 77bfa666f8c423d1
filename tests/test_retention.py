"""What a home no longer keeps: kept days come out the same bits, older ones stay as they were made, receipts stay."""

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from crossattn_core import inspections, model_stages
from crossattn_core.analysis.snapshot_store import read_attention
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import has_weights
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.retention import GRACE, Pruned, models_in_use, prune_home
from crossattn_core.walk_forward.lookahead_checks import check_replay, replayable_days
from crossattn_core.walk_forward.store import read_plan, read_predictions
from tests.small import FIRST, past, run_line, small_experiment, write_market_of

NOW = datetime.now(UTC) + 2 * GRACE
KEPT_DAYS = 5


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A line that was made whole, with a retrain a day: more models than a rollback can go back to."""
    folder = tmp_path_factory.mktemp("daily")
    experiment = small_experiment(
        folder / "market",
        period={"start": FIRST, "end": "2025-03-25"},
        retrain={"minimum_days": 10, "every_days": 1, "cooldown_days": 1},
        retention={"model_days": KEPT_DAYS},
    )
    write_market_of(experiment, folder / "market")
    return run_line(experiment, folder / "home")[0]


@pytest.fixture
def line(daily: Line, tmp_path: Path) -> Line:
    """The same in a copy of its home, which keeps the weights of the newest five days."""
    shutil.copytree(daily.home.root, tmp_path / "home")
    return Line(daily.experiment, open_home(tmp_path / "home", daily.experiment), clock=past)


def pruned(line: Line, **more) -> list[Pruned]:
    return prune_home(line.home, line.experiment, line.last_day, now=NOW, **more)


def stored(line: Line) -> dict[str, bytes]:
    return {str(path.relative_to(line.home.root)): path.read_bytes() for path in line.home.root.rglob("*") if path.is_file()}


def keeping(line: Line, **settings: int) -> Line:
    experiment = Experiment.model_validate(line.experiment.model_dump() | {"retention": settings})
    return Line(experiment, line.home, clock=past)


def served(line: Line, first: date, last: date) -> set[str]:
    return set(read_plan(line.home, first, last)["model_id"]) - {""}


def first_kept(line: Line) -> date:
    return line.last_day - timedelta(days=KEPT_DAYS - 1)


def test_retention_is_no_part_of_what_an_experiment_is(line: Line) -> None:
    other = keeping(line, model_days=1, run_days=3)
    assert other.experiment.content_hash() == line.experiment.content_hash()
    assert other.knobs_hash_of("backtest_report") == line.knobs_hash_of("backtest_report")


def test_without_retention_nothing_is_deleted(line: Line) -> None:
    before = stored(line)
    assert all(row == Pruned(row.kind, 0, 0) for row in pruned(keeping(line)))
    assert stored(line) == before


def test_a_dry_run_deletes_nothing_and_says_what_a_prune_then_deletes(line: Line) -> None:
    before = stored(line)
    told = pruned(line, dry_run=True)
    assert stored(line) == before
    assert told[0].count > 0
    assert told[0].size_bytes > 1000
    assert pruned(line) == told
    assert len(before) - len(stored(line)) == told[0].count


def test_kept_days_replay_and_explain_as_before_and_older_ones_stay_made(line: Line) -> None:
    day, symbol = first_kept(line), line.experiment.symbols[0]
    earlier = line.experiment.period.start + timedelta(days=10)
    explained = {at: inspections.explain_position(line, at, symbol, "attention") for at in (earlier, day)}
    before = stored(line)
    assert pruned(line)[0].count > 0
    for model in served(line, day, line.last_day):
        assert has_weights(line.home.models / model)
    gone = {name for name in before.keys() - stored(line).keys()}
    assert all(name.startswith("models/") and name.endswith("weights.safetensors") for name in gone)
    panel = line.panel()
    kept = replayable_days(line.home, read_predictions(line.home, day, line.last_day))
    assert [str(at) for at in kept] == [str(day + timedelta(days=back)) for back in range(KEPT_DAYS)]
    assert check_replay(line.home, line.experiment, panel, kept).empty
    for at, steps in explained.items():
        assert inspections.explain_position(line, at, symbol, "attention") == steps
    fresh = Line(line.experiment, line.home, clock=past)
    assert fresh.staleness.stale_stages(line.experiment.period.start, line.last_day) == []
    assert all(result.reused for result in model_stages.walk_forward(fresh, line.experiment.period.start, line.last_day))
    assert pruned(line)[0] == Pruned("models", 0, 0), "a second prune deletes nothing"


def test_attention_of_a_day_whose_model_is_gone_is_taken_from_the_model_fitted_again(line: Line) -> None:
    before = stored(line)
    pruned(line)
    model_stages.snapshot_attention(line, line.experiment.period.start, line.last_day)
    after = stored(line)
    changed = {name for name in before if after.get(name) != before[name]} - {"receipts.sqlite"}
    assert changed == set()


def test_what_a_rollback_may_go_back_to_is_kept(line: Line) -> None:
    newest = read_plan(line.home, line.last_day, line.last_day)
    assert set(newest["parent_id"]) - {""} <= models_in_use(line.home, line.last_day)


def test_what_was_written_within_a_day_is_left_to_whoever_writes_it(line: Line) -> None:
    before = stored(line)
    for path in line.home.models.rglob("*"):
        os.utime(path)
    assert prune_home(line.home, line.experiment, line.last_day, now=datetime.now(UTC))[0].count == 0
    assert stored(line) == before


def test_a_model_that_no_plan_names_goes_whole_once_its_time_is_over(line: Line) -> None:
    orphan = line.home.models / "0123456789abcdef"
    shutil.copytree(line.home.models / sorted(served(line, first_kept(line), line.last_day))[0], orphan)
    pruned(line)
    assert orphan.is_dir(), "it knows rows of a kept day"
    manifest = (orphan / "manifest.json").read_text(encoding="utf-8").replace('"cut_off": "2025', '"cut_off": "2024')
    (orphan / "manifest.json").write_text(manifest, encoding="utf-8")
    pruned(line)
    assert not orphan.exists()


def test_old_pages_go_and_the_newest_stays_whatever_its_age(line: Line) -> None:
    page = line.home.reports / str(line.last_day)
    shutil.copytree(page, line.home.reports / "2025-03-20")
    rows = {row.kind: row for row in pruned(keeping(line, report_days=3))}
    assert rows["pages"].count == 1
    assert [folder.name for folder in line.home.reports.iterdir()] == [str(line.last_day)]
    page.rename(line.home.reports / "2024-01-01")
    assert {row.kind: row.count for row in pruned(keeping(line, report_days=3))}["pages"] == 0


def test_leaders_as_of_kept_days_are_as_before_and_those_of_older_days_are_refused_with_the_reason(line: Line) -> None:
    window, asset_ids = line.experiment.analysis.window_days, line.experiment.asset_ids
    folder = line.home.attention
    oldest = min(path.stem for path in (folder / "next_bar").iterdir())
    assert oldest > "2025-03-05"
    for early in ("2025-03-03", "2025-03-04", "2025-03-05"):
        for place in (folder, folder / "next_bar"):
            shutil.copy(place / f"{oldest}.parquet", place / f"{early}.parquet")
    before = read_attention(folder, line.last_day, window, asset_ids)
    rows = {row.kind: row.count for row in pruned(keeping(line, snapshot_days=5))}
    assert rows["next-bar forecasts"] == 3
    after = read_attention(folder, line.last_day, window, asset_ids)
    for name in ("next_bar", "evidence", "agreement"):
        assert getattr(after, name).equals(getattr(before, name)), name
    assert np.array_equal(after.received_DN, before.received_DN, equal_nan=True)
    with pytest.raises(HistoryError, match=r"3 days \(2025-03-03 .. 2025-03-05\) that are no longer kept \(retention"):
        read_attention(folder, date(2025, 3, 6), window, asset_ids)
