"""Overrides are dated, checked before they are recorded, and replayed."""

from datetime import timedelta
from pathlib import Path

import pytest

from crossattn_core.errors import HistoryError
from crossattn_core.home import Home
from crossattn_core.walk_forward.overrides import force_retrain, next_day, read_overrides, roll_back
from crossattn_core.walk_forward.store import read_plan
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel
from tests.writers import kill_while_writing, record_overrides, write_at_once

EXPERIMENT = rolling_experiment(on_drift=False, on_degraded=False, on_regime_change=False)
LAST = FIRST_DAY + timedelta(days=39)


def _walk(home: Home, last=LAST):
    return list(walk(home, EXPERIMENT, synthetic_panel(50), FIRST_DAY, last, fit=FakeFit(), load=fake_load))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    _walk(home)
    return home


def test_an_override_is_dated_the_first_day_that_was_not_stepped(home: Home) -> None:
    assert force_retrain(home, EXPERIMENT, "new costs").day == LAST + timedelta(days=1) == next_day(home, EXPERIMENT)
    results = _walk(home, LAST + timedelta(days=2))
    assert [result.reused for result in results[-4:]] == [True, True, False, False]
    assert results[-2].reason == "forced"


def test_an_override_in_the_past_needs_a_rewrite(home: Home) -> None:
    day = LAST - timedelta(days=4)
    with pytest.raises(HistoryError, match=r"would rewrite 5 days.* or allow it with --rewrite"):
        force_retrain(home, EXPERIMENT, "oops", day=day)
    assert read_overrides(home) == []
    force_retrain(home, EXPERIMENT, "agreed", day=day, rewrite=True)
    assert sum(not result.reused for result in _walk(home)) == 5


def test_a_rollback_names_an_earlier_healthy_model_or_takes_the_one_before(home: Home) -> None:
    plan = read_plan(home).query("family == 'attention' and model_id != ''")
    models = list(dict.fromkeys(plan["model_id"]))
    roll_back(home, EXPERIMENT, "bad week", family="attention", model_id=models[0])
    _walk(home, LAST + timedelta(days=1))
    row = read_plan(home).query("family == 'attention'").iloc[-1]
    assert (row["reason"], row["model_id"]) == ("rollback", models[0])
    assert "bad week" in row["why"]


@pytest.mark.parametrize(
    ("ordered", "message"),
    [
        ({"family": "lstm"}, "no family 'lstm'"),
        ({"model_id": "abc"}, "name its family"),
        ({"family": "attention", "model_id": "abc"}, "none of its healthy models"),
        ({"day": FIRST_DAY + timedelta(days=21), "rewrite": True}, "no healthy model before"),
    ],
)
def test_a_rollback_that_cannot_be_is_refused_and_not_recorded(home: Home, ordered, message) -> None:
    with pytest.raises(HistoryError, match=message):
        roll_back(home, EXPERIMENT, "x", **ordered)
    assert read_overrides(home) == []


def test_two_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    write_at_once(record_overrides, tmp_path, 50)
    notes = [override.note for override in read_overrides(Home(tmp_path))]
    assert len(notes) == 100
    for name in ("first", "second"):
        assert [note for note in notes if note.startswith(name)] == [f"{name} {number}" for number in range(50)]


def test_a_writer_that_is_killed_leaves_what_it_recorded_and_holds_up_nobody(tmp_path: Path) -> None:
    kill_while_writing(record_overrides, tmp_path, tmp_path / "walk_forward" / "events.json")
    before = read_overrides(Home(tmp_path))
    assert [override.note for override in before] == [f"killed {number}" for number in range(len(before))]
    write_at_once(record_overrides, tmp_path, 1)
    assert len(read_overrides(Home(tmp_path))) == len(before) + 2
