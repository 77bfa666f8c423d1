"""Fit a family of models on a panel, up to a cut-off.

Every family goes through the same door, so the walk-forward and the benchmarks treat them alike.
"""

from collections.abc import Callable
from pathlib import Path

from crossattn_core.errors import CheckpointError, TrainingError
from crossattn_core.experiment import FAMILIES, Experiment
from crossattn_core.families.checkpoint import fits, read_checkpoint
from crossattn_core.families.ensemble import MEMBERS, FittedEnsemble, fit_ensemble
from crossattn_core.families.fitted import AttentionWeights, EpochReport, FitRequest, FittedModel, silent
from crossattn_core.families.lightgbm import FittedBoosted, fit_boosted
from crossattn_core.families.network import FittedAttention, fit_attention
from crossattn_core.families.ridge import FittedRidge, fit_ridge

__all__ = ["FAMILIES", "AttentionWeights", "EpochReport", "FitRequest", "FittedModel", "fit_model", "load_model", "silent"]

_NETWORKS: dict[str, dict[str, str]] = {
    "attention": {},
    "direction_attention": {"head": "direction", "loss": "cross_entropy"},
    "sharpe_attention": {"head": "weights", "loss": "sharpe"},
    "uniform_attention": {"cross_attention": "uniform"},
    "self_attention": {"cross_attention": "off"},
    "lstm": {"cross_attention": "off", "own_branch": "lstm"},
    "gru": {"cross_attention": "off", "own_branch": "gru"},
    "dlinear": {"cross_attention": "off", "own_branch": "dlinear"},
    "portfolio_transformer": {
        "cross_attention": "off",
        "own_branch": "portfolio_transformer",
        "head": "weights",
        "loss": "sharpe",
    },
}
"""Families that are networks, and the knobs of the model and training sections that make them one."""

_OWN_ONLY_EVERY = 4
"""Without a cross part the own branch is the model: it gets more rows than drop-path leaves it."""


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
        case network if network in _NETWORKS:
            own, seeds = _as_family(family, experiment), experiment.retrain.seeds
            if seeds > 1:
                return fit_ensemble(fit_attention, family, request, own, seeds, report=report)
            return fit_attention(family, request, own, report=report)
        case "ridge_var":
            return fit_ridge(request, experiment)
        case "lightgbm":
            return fit_boosted(request, experiment)
    raise TrainingError(f"family {family!r} is unknown; choose from {', '.join(FAMILIES)}")


def load_model(folder: Path, experiment: Experiment) -> FittedModel:
    """Read a checkpoint written by ``FittedModel.save``.

    Raises:
        CheckpointError: damaged, or made for another universe, feature set or version; the difference is spelled out.
    """
    arrays, manifest = read_checkpoint(folder)
    family = str(manifest.get("family"))
    experiment = _as_family(family, experiment)
    fits(manifest, family, experiment, folder=folder)
    if MEMBERS in manifest:
        return FittedEnsemble([load_model(folder.parent / member, experiment) for member in manifest[MEMBERS]], manifest)
    match family:
        case network if network in _NETWORKS:
            return FittedAttention.from_checkpoint(arrays, manifest, experiment)
        case "ridge_var":
            return FittedRidge.from_checkpoint(arrays, manifest, experiment)
        case "lightgbm":
            return FittedBoosted.from_checkpoint(arrays, manifest, experiment)
    raise CheckpointError(f"{folder}: family {family!r} is unknown here; known: {', '.join(FAMILIES)}")


def _as_family(family: str, experiment: Experiment) -> Experiment:
    knobs = _NETWORKS.get(family)
    if not knobs:
        return experiment
    training = experiment.training
    if knobs.get("cross_attention") == "off":
        training = training.model_copy(update={"own_branch_stride": min(training.own_branch_stride, _OWN_ONLY_EVERY)})
    if "loss" in knobs:
        training = training.model_copy(update={"loss": knobs["loss"]})
    model = experiment.model.model_copy(update={name: knob for name, knob in knobs.items() if name != "loss"})
    return experiment.model_copy(update={"model": model, "training": training})


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
