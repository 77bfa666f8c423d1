"""The ledger of trials: every setting that was ever tried in a home, one JSON line each; lines are only ever added.

    tuning/trials.jsonl    study, trial, family, settings, score (null: the fit failed), why

Whoever looked at many variants must expect the best to look good by luck: the deflated Sharpe ratio counts these lines.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossattn_core.errors import HomeError
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.storage import locked, write_text

__all__ = ["Trial", "ledger_path", "read_trials", "record_trial", "trials_counted"]


@dataclass(frozen=True)
class Trial:
    """One setting that was tried."""

    study: str
    """Hash of what was searched: experiment, space, panel and seed."""
    trial: int
    """From 0, within the study."""
    family: str
    settings: dict[str, Any]
    """Knob -> value, as 'section.knob'."""
    score: float | None
    """Out of sample, higher is better; none where the fit failed."""
    why: str = ""
    """What went wrong, if anything did."""


def ledger_path(home: Home) -> Path:
    """Where the trials of ``home`` are written down."""
    return home.root / "tuning" / "trials.jsonl"


def read_trials(home: Home) -> list[Trial]:
    """Every trial of ``home``, in the order in which they ended.

    Raises:
        HomeError: a line is damaged.
    """
    path = ledger_path(home)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Trial(**json.loads(line)) for line in lines]
    except (ValueError, TypeError, IsADirectoryError) as error:
        raise HomeError(f"{path}: damaged ({error}); restore it, trials must not be forgotten") from error


def record_trial(home: Home, trial: Trial) -> None:
    """Write a trial down (atomic, on disk when this returns); the same study and number twice counts once."""
    path = ledger_path(home)
    with locked(path.with_suffix(".lock")):
        before = read_trials(home)
        if any((known.study, known.trial) == (trial.study, trial.trial) for known in before):
            return
        write_text(path, "".join(json.dumps(asdict(known), sort_keys=True) + "\n" for known in (*before, trial)))


def trials_counted(home: Home, experiment: Experiment) -> int:
    """Variants that were tried for the strategy on the page: ``backtest.trials`` and every trial in the home's ledger."""
    return experiment.backtest.trials + len(read_trials(home))
