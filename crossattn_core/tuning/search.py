"""The search for hyper-parameters: settings are tried one by one, each scored out of sample, all before the first test day.

The ledger is the search's only memory: a search is rebuilt from it trial by trial, so one that was stopped goes on where
it stood and ends with the same trials. Settings are proposed by Optuna (Akiba et al., 2019; tree-structured Parzen
estimators); needs the extra 'tune'.

Axes: R scored rows, N assets, O outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.compute.pool import Pool, Task
from crossattn_core.errors import ExperimentError, HistoryError, TrainingError
from crossattn_core.experiment import Choice, Experiment
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.tuning.ledger import Trial, read_trials, record_trial
from crossattn_core.walk_forward.plan import first_served_day

__all__ = ["ScoresAhead", "Tuned", "first_test_day", "score_fold", "score_settings", "search", "study_name", "with_settings"]

Settings = dict[str, Any]

_RANDOM_TRIALS = 10
"""Scored trials from which on Optuna's sampler looks at scores; before, it draws at random."""


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    study: str
    trials: tuple[Trial, ...]
    best: Trial
    experiment: Experiment
    """The experiment with the best settings in place."""


def first_test_day(experiment: Experiment) -> date:
    """The first day that the walk-forward forecasts: nothing from here on may choose a setting."""
    return first_served_day(experiment)


def with_settings(experiment: Experiment, settings: Settings) -> Experiment:
    """The experiment with some knobs ('section.knob') set otherwise, checked as a whole.

    Raises:
        ExperimentError: the knobs do not go together.
    """
    # What was never set stays so: some checks look only at what was set.
    knobs = experiment.model_dump(exclude_unset=True)
    for name, value in settings.items():
        section, knob = name.split(".")
        knobs[section] = knobs.get(section, {}) | {knob: value}
    try:
        return Experiment.model_validate(knobs)
    except ValueError as error:
        raise ExperimentError(f"{settings}: {error}") from error


def search(
    home: Home,
    experiment: Experiment,
    past_panel: Panel,
    *,
    report: Callable[[Trial], None] = lambda trial: None,
    pool: Pool | None = None,
) -> Tuned:
    """Try ``tuning.trials`` settings, those of earlier calls included, and name the best.

    Args:
        home: where the ledger lies.
        experiment: its own settings are the first trial.
        past_panel: rows up to the first test day's 00:00 and none after.
        report: called after each new trial.
        pool: scores folds side by side, and settings before their turn while they do not depend on earlier scores; none: one
            fold after the other. Trials and scores are the same.

    Raises:
        HistoryError: the panel reaches into the test days, or is too short.
        TrainingError: Optuna is not installed, or no trial could be fitted.
    """
    limit = np.datetime64(first_test_day(experiment), "us")
    if past_panel.as_of_T[-1] > limit:
        raise HistoryError(f"the panel ends at {past_panel.as_of_T[-1]}, tuning may know nothing after {limit}; cut it there")
    settings = experiment.tuning
    name = study_name(experiment, past_panel)
    done = [trial for trial in read_trials(home) if trial.study == name]
    ahead = None if pool is None else ScoresAhead(experiment, past_panel, pool)
    for number in range(len(done), settings.trials):
        chosen = _proposed(experiment, done, number)
        try:
            with_chosen = with_settings(experiment, chosen)
            score, why = score_settings(with_chosen, past_panel) if ahead is None else ahead.score(chosen, number, done), ""
        except (TrainingError, ExperimentError) as error:
            score, why = None, str(error)
        trial = Trial(name, number, settings.family, chosen, score, why)
        record_trial(home, trial)
        done.append(trial)
        report(trial)
    scored = [trial for trial in done if trial.score is not None]
    if not scored:
        raise TrainingError(f"none of {len(done)} settings could be fitted; the last failed with: {done[-1].why}")
    best = max(scored, key=lambda trial: (trial.score or 0.0, -trial.trial))
    return Tuned(name, tuple(done), best, with_settings(experiment, best.settings))


def study_name(experiment: Experiment, past_panel: Panel) -> str:
    """Hash of what is searched. How many trials are made does not count: more of them continue the same search."""
    sections = (experiment.features, experiment.labels, experiment.model, experiment.training, experiment.baselines)
    tuning = experiment.tuning.model_copy(update={"trials": 1})
    return combined_hash(*(section.content_hash() for section in sections), tuning.content_hash(), past_panel.content_hash)


def score_settings(experiment: Experiment, past_panel: Panel) -> float:
    """Mean out-of-sample score of ``tuning.family`` over the folds; higher is better.

    Families that forecast: 1 - squared error / squared outcome, in each asset's own units, over all outputs. Families
    that give weights: Sharpe ratio net of turnover of decisions a trade horizon apart.
    """
    return float(np.mean([score_fold(experiment, past_panel, *fold) for fold in _folds(experiment, past_panel)]))


def score_fold(experiment: Experiment, past_panel: Panel, cut_off: int, last: int) -> float:
    """Score on the rows behind ``cut_off``, up to ``last``, of a fit on those before."""
    known = past_panel.until(last + 1)
    request = FitRequest(known, cut_off, np.ones(last + 1, dtype=np.float32), experiment.training.seed)
    model = fit_model(experiment.tuning.family, request, experiment)
    return _score(model, known, np.arange(cut_off + 1, last + 1), experiment)


class ScoresAhead:
    """Scores that a pool makes before the search asks for them.

    The sampler's first proposals are random: they are told before any score is known, and scored side by side. Later ones follow
    from the scores before them; of those the folds alone are.
    """

    def __init__(self, experiment: Experiment, past_panel: Panel, pool: Pool) -> None:
        self.experiment, self.panel, self.pool = experiment, past_panel, pool
        self._tasks: dict[str, list[Task]] = {}
        self._shared: Any = None

    def score(self, chosen: Settings, number: int, done: list[Trial]) -> float:
        """``score_settings`` of what was chosen for trial ``number`` after ``done``; its errors."""
        if str(chosen) not in self._tasks:
            self._look_ahead(chosen, number, done)
        return float(np.mean([task.result() for task in self._tasks.pop(str(chosen))]))

    def _look_ahead(self, chosen: Settings, number: int, done: list[Trial]) -> None:
        settings, pretended = self.experiment.tuning, list(done)
        for later in range(number, settings.trials):
            chosen = chosen if later == number else _proposed(self.experiment, pretended, later)
            score: float | None = 0.0
            try:
                with_chosen = with_settings(self.experiment, chosen)
                self._tasks[str(chosen)] = self._tasks.get(str(chosen)) or self._submit(with_chosen)
            except ExperimentError:
                score = None
            pretended.append(Trial("", later, settings.family, chosen, score))
            if sum(1 for trial in pretended if trial.settings and trial.score is not None) >= _RANDOM_TRIALS:
                return

    def _submit(self, experiment: Experiment) -> list[Task]:
        self._shared = self.pool.share(self.panel) if self._shared is None else self._shared
        return [self.pool.submit(score_fold, experiment, self._shared, *fold) for fold in _folds(experiment, self.panel)]


def _folds(experiment: Experiment, past_panel: Panel) -> list[tuple[int, int]]:
    """Cut-off and last scored row of each fold."""
    settings, bars = experiment.tuning, len(past_panel.as_of_T)
    return list(pairwise(int(bars * (1 - settings.judged_share * left)) - 1 for left in range(settings.folds, -1, -1)))


def _score(model: FittedModel, known: Panel, row_R: NDArray[np.int64], experiment: Experiment) -> float:
    from crossattn_core.families.targets import output_labels

    weight_RN = model.weights(known, row_R)
    if weight_RN is not None:
        return _net_sharpe(weight_RN, known, row_R, experiment)
    forecast_RNO = np.concatenate([model.forecast_next_bar(known, row_R)[..., None], model.forecast(known, row_R)], axis=2)
    outcome_RNO = output_labels(known, experiment.labels).value_TNH[row_R]
    seen_RNO = np.isfinite(outcome_RNO) & np.isfinite(forecast_RNO)
    if not seen_RNO.any():
        raise TrainingError(f"no outcome is known in the {len(row_R)} scored rows; tune on more history or in fewer folds")
    outcome_RNO = np.where(seen_RNO, outcome_RNO, 0.0).astype(np.float64)
    error_RNO = np.where(seen_RNO, forecast_RNO - outcome_RNO, 0.0)
    size_NO = np.maximum((outcome_RNO**2).sum(axis=0), 1e-300)
    skill_NO = 1 - (error_RNO**2).sum(axis=0) / size_NO
    # As in training, overlapping horizons hold fewer independent outcomes.
    weight_O = np.array([1.0, *(1 / np.sqrt(horizon) for horizon in experiment.labels.horizons)])
    weight_NO = weight_O * seen_RNO.any(axis=0)
    return float((skill_NO * weight_NO).sum() / weight_NO.sum())


def _net_sharpe(weight_RN: NDArray[np.float32], known: Panel, row_R: NDArray[np.int64], experiment: Experiment) -> float:
    import torch  # not above: the stages are known to whoever lists them, and few of these fit a model

    from crossattn_core.training.loss import sharpe_loss

    labels = experiment.labels
    horizon = labels.trade_horizon
    return_TN = np.expm1(compute_labels(known, labels).value_TNH[:, :, labels.horizons.index(horizon)])
    place_D = np.arange(0, len(row_R), horizon)
    row_D = row_R[place_D]
    loss = sharpe_loss(
        torch.from_numpy(np.nan_to_num(weight_RN[place_D])),
        torch.from_numpy(return_TN[row_D]),
        torch.from_numpy(np.isfinite(return_TN[row_D]).any(axis=1).astype(np.float32)),
        torch.arange(len(row_D)) > 0,
        cost=experiment.training.turnover_cost_bps / 1e4,
        decisions_per_year=experiment.grid.bars_per_year / horizon,
    )
    return -float(loss)


def _proposed(experiment: Experiment, done: list[Trial], number: int) -> Settings:
    settings = experiment.tuning
    return _propose(settings.space, done, settings.seed + number) if number else {}


def _propose(space: dict[str, Choice], done: list[Trial], seed: int) -> Settings:
    """The next settings to try, from those tried before; the same history and seed propose the same."""
    optuna = _optuna()
    distributions = {name: _distribution(optuna, choice) for name, choice in space.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for trial in done:
        # The experiment's own settings may lie outside the space, and a fit that failed has no score: neither teaches.
        if trial.settings and trial.score is not None:
            study.add_trial(optuna.trial.create_trial(params=trial.settings, distributions=distributions, value=trial.score))
    return dict(study.ask(distributions).params)


def _distribution(optuna: Any, choice: Choice) -> Any:
    if choice.values:
        return optuna.distributions.CategoricalDistribution(choice.values)
    kind = optuna.distributions.IntDistribution if choice.whole else optuna.distributions.FloatDistribution
    return kind(*choice.corners, log=choice.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise TrainingError("tuning proposes settings with Optuna, which is not installed: install crossattn[tune]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
