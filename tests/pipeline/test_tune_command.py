"""``crossattn tune`` as a user runs it: on a tiny market, stopped and taken up again, its result used as an experiment."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from crossattn_core.errors import HistoryError
from crossattn_core.experiment import load_experiment
from crossattn_core.home import Home
from crossattn_core.tuning.ledger import read_trials, trials_counted
from crossattn_pipeline.cli import app
from tests.small import export_line, small_experiment, write_market

SPACE = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "model.dropout": {"values": [0.0, 0.2]}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    write_market(folder / "market")
    experiment = small_experiment(folder / "market", tuning={"trials": 3, "folds": 1, "space": SPACE})
    export_line(experiment, folder / "home")
    (folder / "tune.yaml").write_text(yaml.safe_dump(experiment.model_dump(mode="json", exclude_unset=True)))
    return folder


def crossattn(place: Path, *arguments: str, experiment: str = "tune.yaml") -> Result:
    options = [*arguments, "--experiment", str(place / experiment), "--home", str(place / "home")]
    return CliRunner().invoke(app, options)


def test_a_search_is_shown_taken_up_again_and_usable(place: Path) -> None:
    first = crossattn(place, "tune", "--trials", "2", "--json")
    assert first.exit_code == 0, first.stderr
    events = [json.loads(line) for line in first.stdout.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events] == ["trial", "trial", "tuned"]

    best_file = place / "best.yaml"
    second = crossattn(place, "tune", "--out", str(best_file))
    assert second.exit_code == 0, second.stderr
    assert re.search(r"trial 3 of 3  \S+  model.dropout 0(.2)?, training.learning_rate [\d.e-]+$", second.stderr, re.MULTILINE)
    assert "trial 2 of 3" not in second.stderr
    experiment = load_experiment(place / "tune.yaml")
    trials = read_trials(Home(place / "home"))
    assert len(trials) == 3
    assert trials_counted(Home(place / "home"), experiment) == experiment.backtest.trials + 3

    assert second.stdout == best_file.read_text()
    best = load_experiment(best_file)
    winner = max(trials, key=lambda trial: trial.score if trial.score is not None else float("-inf"))
    expected = {
        "training.learning_rate": experiment.training.learning_rate,
        "model.dropout": experiment.model.dropout,
    } | winner.settings
    assert {"training.learning_rate": best.training.learning_rate, "model.dropout": best.model.dropout} == expected


def test_a_search_without_a_test_day_left_is_refused(place: Path) -> None:
    settings = yaml.safe_load((place / "tune.yaml").read_text())
    settings["retrain"]["minimum_days"] = 60
    (place / "late.yaml").write_text(yaml.safe_dump(settings))
    refused = crossattn(place, "tune", experiment="late.yaml")
    assert isinstance(refused.exception, HistoryError)
    assert "no day is left to test what tuning finds" in str(refused.exception)
