"""``crossattn tune``: search hyper-parameters before the first test day, and print the best as an experiment file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.commands.terminal import Output

if TYPE_CHECKING:
    from crossattn_core.experiment import Experiment
    from crossattn_core.tuning.ledger import Trial

__all__ = ["as_experiment_file", "tune"]


def tune(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try in all, in place of the experiment's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the best settings here too, as an experiment file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search hyper-parameters on days before the first test day; the panel must be there (crossattn run, or the data job).

    A search that was stopped goes on; every trial counts in the deflated Sharpe ratio of this home's reports.
    """
    from crossattn_core import model_stages
    from crossattn_core.storage import check_target, write_text
    from crossattn_core.tuning.ledger import ledger_path, trials_counted
    from crossattn_core.tuning.search import first_test_day

    if out is not None:
        check_target(out.resolve())
    line = open_line(experiment, home, overrides={"tuning": {"trials": trials}} if trials else None)
    output, before = Output(as_json, people=sys.stderr), first_test_day(line.experiment)

    def show(trial: Trial) -> None:
        score = "failed" if trial.score is None else f"{trial.score:+.5f}"
        text = f"trial {trial.trial + 1} of {line.experiment.tuning.trials}  {score}  {_in_words(trial)}"
        output.event("trial", text, trial=trial.trial, score=trial.score, **_fields(trial))

    tuned = model_stages.tune(line, report=show)
    best, count = tuned.best, len(tuned.trials)
    counted, ledger = trials_counted(line.home, line.experiment), ledger_path(line.home)
    content = as_experiment_file(tuned.experiment, f"{count} settings tried on days before {before}")
    if out is not None:
        write_text(out.resolve(), content)
    output.event(
        "tuned",
        f"Best of {count}: trial {best.trial + 1}, score {best.score:+.5f}; the deflated Sharpe ratio counts {counted} trials: "
        f"those of {ledger} and backtest.trials, {line.experiment.backtest.trials}.",
        study=tuned.study,
        best={"trial": best.trial, "score": best.score, **_fields(best)},
        trials=count,
        trials_counted=counted,
        ledger=str(ledger),
        experiment=content,
    )
    if not as_json:
        sys.stdout.write(content)


def as_experiment_file(experiment: Experiment, note: str) -> str:
    """YAML of what differs from the defaults, with where it came from on top."""
    import yaml

    differences = experiment.model_dump(mode="json", exclude_defaults=True)
    head = f"# {note}.\n# Their ledger lies in the home; in another home add them to backtest.trials.\n"
    return head + yaml.safe_dump(differences, sort_keys=False, allow_unicode=True)


def _in_words(trial: Trial) -> str:
    values = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in trial.settings.items()}
    settings = ", ".join(f"{name} {value}" for name, value in values.items()) or "the experiment's own"
    return f"{settings}: {trial.why}" if trial.why else settings


def _fields(trial: Trial) -> dict[str, object]:
    return {"settings": trial.settings or "the experiment's own", **({"why": trial.why} if trial.why else {})}
