"""Every family of models by name, fitted on a panel up to a cut-off.

All go through the same door, so the walk-forward and the benchmarks treat them alike. A new file of this package that
registers a ``Family`` can be named in ``retrain.families``; nothing else has to know it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crossattn_core.errors import CheckpointError, ExperimentError, TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import check_fits, read_checkpoint
from crossattn_core.families.ensemble import MEMBERS, FittedEnsemble, averaged, fit_ensemble
from crossattn_core.families.fitted import Family, FitRequest, FittedModel
from crossattn_core.progress import silent
from crossattn_core.registry import Registry
from crossattn_core.training.epochs import EpochReport

__all__ = ["FAMILIES", "average_seeds", "fit_model", "load_model", "seeds_of"]

FAMILIES = Registry[Family]("model family", "crossattn_core.families")
"""What ``retrain.families`` can name."""


def fit_model(
    family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None] = silent
) -> FittedModel:
    """Fit ``family`` on the rows at or before ``request.cut_off``; deterministic with ``training.threads`` at 1.

    Args:
        report: called after each epoch.

    Raises:
        ExperimentError: the family is none of ``FAMILIES``.
        TrainingError: too few rows, or a loss that is not finite (the batch is named).
    """
    kind = FAMILIES.get(family)
    _check_panel(request, experiment)
    adapted = kind.adapt(experiment)
    if kind.averages_seeds and experiment.retrain.seeds > 1:
        return fit_ensemble(kind, family, request, adapted, report=report)
    return kind.fit(family, request, adapted, report=report)


def seeds_of(family: str, experiment: Experiment) -> int:
    """How many fits of one seed each a fit of ``family`` consists of."""
    return experiment.retrain.seeds if FAMILIES.get(family).averages_seeds else 1


def average_seeds(members: Sequence[FittedModel], family: str, request: FitRequest, experiment: Experiment) -> FittedModel:
    """What ``fit_model`` gives where the members were fitted apart: each on its own of ``ensemble.member_requests``."""
    kind = FAMILIES.get(family)
    return averaged(members, kind, family, request, kind.adapt(experiment))


def load_model(folder: Path, experiment: Experiment) -> FittedModel:
    """Read a checkpoint written by ``FittedModel.save``.

    Raises:
        CheckpointError: damaged, of a family that is unknown here, or made for another universe, feature set or network; the
            difference is spelled out.
    """
    arrays, manifest = read_checkpoint(folder)
    family = str(manifest.get("family"))
    try:
        kind = FAMILIES.get(family)
    except ExperimentError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    adapted = kind.adapt(experiment)
    check_fits(manifest, family, adapted, kind.knobs, folder=folder)
    if MEMBERS in manifest:
        return FittedEnsemble([load_model(folder.parent / member, experiment) for member in manifest[MEMBERS]], manifest)
    return kind.load(arrays, manifest, adapted)


def _check_panel(request: FitRequest, experiment: Experiment) -> None:
    panel, weights = request.panel, len(request.row_weight_T)
    if weights <= request.cut_off:
        raise TrainingError(f"row_weight_T has {weights} rows, the cut-off is row {request.cut_off}")
    for what, held, expected in (
        ("assets", panel.asset_ids, experiment.asset_ids),
        ("features", panel.features, experiment.features.names),
    ):
        if held != expected:
            raise TrainingError(f"the panel holds {what} {list(held)}, the experiment {list(expected)}; export it again")
    if not 0 <= request.cut_off < len(panel.as_of_T):
        raise TrainingError(f"cut-off row {request.cut_off} lies outside the panel's {len(panel.as_of_T)} rows")
    weight_T = request.known_weight_T
    wrong_T = ~(np.isfinite(weight_T) & (weight_T >= 0))
    if wrong_T.any():
        row = int(wrong_T.argmax())
        raise TrainingError(
            f"row_weight_T is {weight_T[row]} at row {row} ({int(wrong_T.sum())} such in all); a weight is a finite number of at "
            "least 0, and 0 leaves a row out"
        )
