"""Fit a family of models on a panel, up to a cut-off.

Every family goes through the same door, so the walk-forward and the benchmarks treat them alike.
"""

from collections.abc import Callable
from pathlib import Path

from crossattn_core.errors import CheckpointError, TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.training.fitted import AttentionWeights, EpochReport, FitRequest, FittedModel, silent

__all__ = ["FAMILIES", "AttentionWeights", "EpochReport", "FitRequest", "FittedModel", "fit_model", "load_model", "silent"]

FAMILIES: tuple[str, ...] = ("attention", "ridge_var")
"""Families that forecast; each can be asked for by name."""


def fit_model(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None] = silent
) -> FittedModel:
    """Fit ``family`` on the rows at or before ``request.cut_off``; deterministic with ``training.threads`` at 1.

    Args:
        family: one of ``FAMILIES``.
        request: the panel, the cut-off, the rows' weights, the seed and the predecessor, if any.
        report: called after each epoch.

    Raises:
        TrainingError: unknown family, too few rows, or a loss that is not finite (the batch is named).
    """
    raise TrainingError(f"family {family!r} is unknown; choose from {', '.join(FAMILIES)}")


def load_model(folder: Path, experiment: Experiment) -> FittedModel:
    """Read a checkpoint written by ``FittedModel.save``.

    Raises:
        CheckpointError: damaged, or made for another universe, feature set or version; the difference is spelled out.
    """
    raise CheckpointError(f"{folder}: no checkpoint")
