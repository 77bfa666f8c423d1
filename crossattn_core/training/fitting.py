"""Fit a family of models on a panel, up to a cut-off.

Every family goes through the same door, so the walk-forward and the benchmarks treat them alike.
"""

from collections.abc import Callable
from pathlib import Path

from crossattn_core.errors import CheckpointError, TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.training.attention_family import FittedAttention, fit_attention
from crossattn_core.training.checkpoint import fits, read_checkpoint
from crossattn_core.training.fitted import AttentionWeights, EpochReport, FitRequest, FittedModel, silent
from crossattn_core.training.ridge_family import FittedRidge, fit_ridge

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
    if len(request.row_weight_T) <= request.cut_off:
        raise TrainingError(f"row_weight_T has {len(request.row_weight_T)} rows, the cut-off is row {request.cut_off}")
    _check_panel(request, experiment)
    match family:
        case "attention":
            return fit_attention(request, experiment, report=report)
        case "ridge_var":
            return fit_ridge(request, experiment)
    raise TrainingError(f"family {family!r} is unknown; choose from {', '.join(FAMILIES)}")


def load_model(folder: Path, experiment: Experiment) -> FittedModel:
    """Read a checkpoint written by ``FittedModel.save``.

    Raises:
        CheckpointError: damaged, or made for another universe, feature set or version; the difference is spelled out.
    """
    arrays, manifest = read_checkpoint(folder)
    family = str(manifest.get("family"))
    fits(manifest, family, experiment, folder=folder)
    match family:
        case "attention":
            return FittedAttention.from_checkpoint(arrays, manifest, experiment)
        case "ridge_var":
            return FittedRidge.from_checkpoint(arrays, manifest, experiment)
    raise CheckpointError(f"{folder}: family {family!r} is unknown here; known: {', '.join(FAMILIES)}")


def _check_panel(request: FitRequest, experiment: Experiment) -> None:
    panel = request.panel
    for what, held, asked in (
        ("assets", panel.asset_ids, experiment.asset_ids),
        ("features", panel.features, experiment.features.names),
    ):
        if held != asked:
            raise TrainingError(f"the panel holds {what} {list(held)}, the experiment asks for {list(asked)}; export it again")
    if not 0 <= request.cut_off < len(panel.as_of_T):
        raise TrainingError(f"cut-off row {request.cut_off} lies outside the panel's {len(panel.as_of_T)} rows")
