"""The ledger forgets nothing and counts nothing twice."""

from pathlib import Path

import pytest

from crossattn_core.errors import HomeError
from crossattn_core.experiment import load_experiment
from crossattn_core.home import Home
from crossattn_core.tuning.ledger import Trial, ledger_path, read_trials, record_trial, trials_counted
from tests.writers import kill_while_writing, record_trials, write_at_once


def trial(number: int, study: str = "a") -> Trial:
    return Trial(study, number, "attention", {"training.learning_rate": 0.001 * (number + 1)}, 0.01 * number)


def test_every_trial_counts_once_next_to_those_of_the_experiment(tmp_path: Path) -> None:
    home, experiment = Home(tmp_path), load_experiment(None, {"backtest": {"trials": 3}})
    assert trials_counted(home, experiment) == 3
    for each in (trial(0), trial(1), trial(1), trial(0, study="b")):
        record_trial(home, each)
    assert read_trials(home) == [trial(0), trial(1), trial(0, study="b")]
    assert trials_counted(home, experiment) == 6


def test_a_damaged_ledger_is_refused_rather_than_counted_short(tmp_path: Path) -> None:
    record_trial(Home(tmp_path), trial(0))
    path = ledger_path(Home(tmp_path))
    path.write_text(path.read_text() + '{"study": "a", "tri')
    with pytest.raises(HomeError, match="trials must not be forgotten"):
        trials_counted(Home(tmp_path), load_experiment(None))


def test_two_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    write_at_once(record_trials, tmp_path, 50)
    counted = {(trial.study, trial.trial) for trial in read_trials(Home(tmp_path))}
    assert counted == {(study, number) for study in ("first", "second") for number in range(50)}


def test_a_writer_that_is_killed_leaves_a_ledger_that_reads_and_goes_on(tmp_path: Path) -> None:
    kill_while_writing(record_trials, tmp_path, ledger_path(Home(tmp_path)))
    before = read_trials(Home(tmp_path))
    assert [trial.trial for trial in before] == list(range(len(before)))
    record_trial(Home(tmp_path), trial(0))
    assert len(read_trials(Home(tmp_path))) == len(before) + 1
