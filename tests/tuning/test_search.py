"""The search: before the test days only, the same by seed, whole or in pieces, and every trial written down."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from crossattn_core.errors import ExperimentError, HistoryError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.tuning.ledger import read_trials, trials_counted
from crossattn_core.tuning.search import first_test_day, search, study_name, with_settings
from crossattn_pipeline.commands.tune import as_experiment_file
from tests.compute.pools import PretendPool
from tests.walk_forward.fakes import FIRST_DAY, rolling_experiment, synthetic_panel

PANEL = synthetic_panel(20, leads=((0, 1, 1, 0.8),))


def experiment(**tuning: object) -> Experiment:
    space = {"baselines.ridge_penalty": {"low": 1.0, "high": 1e4, "log": True}, "baselines.ridge_lags": {"values": [2, 4, 8]}}
    knobs = rolling_experiment().model_dump(exclude_unset=True)
    knobs["period"] = {"start": FIRST_DAY, "end": FIRST_DAY + timedelta(days=40)}
    knobs["tuning"] = {"family": "ridge_var", "trials": 5, "space": space, **tuning}
    return Experiment.model_validate(knobs)


def test_a_search_writes_down_every_trial_and_names_the_best(tmp_path: Path) -> None:
    home, asked = Home(tmp_path), experiment()
    tuned = search(home, asked, PANEL)
    assert tuple(read_trials(home)) == tuned.trials
    assert [trial.trial for trial in tuned.trials] == [0, 1, 2, 3, 4]
    assert tuned.trials[0].settings == {}
    assert tuned.best.score == max(trial.score for trial in tuned.trials)
    assert tuned.best.score > 0
    assert trials_counted(home, asked) == asked.backtest.trials + 5
    for name, value in tuned.best.settings.items():
        assert getattr(tuned.experiment.baselines, name.split(".")[1]) == value


def test_a_search_in_pieces_ends_with_the_trials_of_one_in_one_go(tmp_path: Path) -> None:
    whole = search(Home(tmp_path / "whole"), experiment(), PANEL)
    pieces = Home(tmp_path / "pieces")
    search(pieces, experiment(trials=2), PANEL)

    class StopHereError(Exception):
        pass

    def stop(trial) -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        search(pieces, experiment(), PANEL, report=stop)
    assert len(read_trials(pieces)) == 3
    assert search(pieces, experiment(), PANEL).trials == whole.trials


def test_a_panel_that_reaches_into_the_test_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="tuning may know nothing after"):
        search(Home(tmp_path), experiment(), synthetic_panel(21))
    assert first_test_day(experiment()) == FIRST_DAY + timedelta(days=20)


def test_what_cannot_be_fitted_is_counted_and_says_why(tmp_path: Path) -> None:
    # More lags than the first fold has rows.
    asked = experiment(family="ridge_var", trials=2, space={"baselines.ridge_lags": {"values": [336]}})
    tuned = search(Home(tmp_path), asked, PANEL.until(400))
    failed = read_trials(Home(tmp_path))[1]
    assert failed.score is None
    assert "give the model more history" in failed.why
    assert tuned.best.trial == 0
    assert trials_counted(Home(tmp_path), asked) == asked.backtest.trials + 2


def test_more_trials_continue_a_search_and_another_panel_starts_one() -> None:
    assert study_name(experiment(trials=5), PANEL) == study_name(experiment(trials=50), PANEL)
    assert study_name(experiment(), PANEL) != study_name(experiment(), synthetic_panel(20, seed=9))
    assert study_name(experiment(), PANEL) != study_name(experiment(seed=8), PANEL)


def test_the_printed_difference_is_the_tuned_experiment(tmp_path: Path) -> None:
    tuned = with_settings(experiment(), {"baselines.ridge_penalty": 7.5, "training.learning_rate": 5e-4})
    path = tmp_path / "best.yaml"
    path.write_text(as_experiment_file(tuned, "5 settings tried"))
    assert load_experiment(path) == tuned
    assert set(yaml.safe_load(path.read_text())["baselines"]) == {"ridge_penalty"}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"portfolio.gross": {"values": [1.0]}}, "a knob is 'section.knob' of"),
        ({"training.learning_rate": {"low": 0.1, "high": 2.0}}, r"training.learning_rate = 2.0"),
        ({"training.epochs": {"low": 5}}, "give either low and high, or values"),
        ({"training.epochs": {"low": 5, "high": 2}}, "must lie under high"),
    ],
)
def test_a_space_out_of_bounds_is_refused_before_anything_is_fitted(space, said) -> None:
    with pytest.raises(ExperimentError, match=said):
        load_experiment(None, {"tuning": {"space": space}})


def test_a_search_with_a_pool_has_the_trials_of_one_without_and_scores_random_settings_before_their_turn(tmp_path: Path) -> None:
    asked, pool = experiment(trials=13), PretendPool()
    alone = search(Home(tmp_path / "alone"), asked, PANEL)
    reported: list[int] = []
    together = search(
        Home(tmp_path / "together"), asked, PANEL, pool=pool, report=lambda trial: reported.append(len(pool.submitted))
    )
    assert together.trials == alone.trials
    folds = asked.tuning.folds
    assert reported[0] >= 10 * folds  # with the first trial, every random one
    assert len({str(trial.settings) for trial in alone.trials}) * folds <= len(pool.submitted) <= 13 * folds


def test_what_cannot_be_fitted_says_the_same_with_a_pool(tmp_path: Path) -> None:
    asked = experiment(family="ridge_var", trials=2, space={"baselines.ridge_lags": {"values": [336]}})
    alone = search(Home(tmp_path / "alone"), asked, PANEL.until(400))
    assert search(Home(tmp_path / "together"), asked, PANEL.until(400), pool=PretendPool()).trials == alone.trials
