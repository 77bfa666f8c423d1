"""Several seeds of one family as one model: members are checkpoints of their own, their outputs are averaged.

<models>/<ensemble id>/manifest.json lists the members; each member lies in <models>/<member id>.

Axes: R rows, N assets, H horizons.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import stamp
from crossattn_core.families.fitted import AttentionWeights, Family, FitRequest, FittedModel
from crossattn_core.panel.panel import Panel
from crossattn_core.training.epochs import EpochReport

__all__ = ["MEMBERS", "FittedEnsemble", "averaged", "fit_ensemble", "member_requests"]

MEMBERS = "members"
"""Key of a manifest that lists the members of an ensemble."""

_SEED_STEP = 1_000_003
"""Distance between members' seeds: farther apart than the days that a walk adds to its seed."""


class FittedEnsemble(FittedModel):
    """The mean of its members, which differ by seed alone."""

    def __init__(self, members: Sequence[FittedModel], manifest: dict[str, Any]) -> None:
        self.members = tuple(members)
        self.identify(manifest)

    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._mean([member.forecast(panel, rows) for member in self.members])

    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._mean([member.forecast_next_bar(panel, rows) for member in self.members])

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        return self._mean_or_none([member.forecast_without_others(panel, rows) for member in self.members])

    def weights(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        return self._mean_or_none([member.weights(panel, rows) for member in self.members])

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        attentions = [member.attention(panel, rows) for member in self.members]
        given = [attention for attention in attentions if attention is not None]
        if len(given) < len(attentions):
            return None
        return replace(given[0], weight_RHNML=self._mean([attention.weight_RHNML for attention in given]))

    def save(self, folder: Path) -> Path:
        """Write the members beside ``folder``, then the list of them: a reader sees a whole ensemble or none."""
        for member in self.members:
            member.save(folder.parent / member.model_id)
        return super().save(folder)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"seeds": np.array([member.manifest["seed"] for member in self.members], dtype=np.int64)}

    @staticmethod
    def _mean(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.mean(np.stack(outputs).astype(np.float64), axis=0).astype(np.float32)

    def _mean_or_none(self, outputs: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
        given = [output for output in outputs if output is not None]
        return self._mean(given) if len(given) == len(outputs) else None


def fit_ensemble(
    kind: Family, family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
) -> FittedEnsemble:
    """Fit ``retrain.seeds`` members of ``kind``, each warm from its counterpart in the predecessor where that has as many.

    Members differ by seed and by what they start from; the experiment is already adapted to the family.
    """
    requests = member_requests(request, experiment.retrain.seeds)
    members = [kind.fit(family, of_member, experiment, report=report) for of_member in requests]
    return averaged(members, kind, family, request, experiment)


def member_requests(request: FitRequest, seeds: int) -> list[FitRequest]:
    """The fit of each member of an ensemble that ``request`` asks for."""
    parents = _parents(request, seeds)
    return [replace(request, seed=request.seed + n * _SEED_STEP, warm_from=parent) for n, parent in enumerate(parents)]


def averaged(
    members: Sequence[FittedModel], kind: Family, family: str, request: FitRequest, experiment: Experiment
) -> FittedEnsemble:
    """The ensemble of the members that ``member_requests`` came to; the experiment is already adapted to the family."""
    before, first = request.warm_from, members[0].manifest
    losses = [float(member.manifest["validation_loss"]) for member in members]
    shared = ("panel_hash", "cut_off", "train_start", "train_rows", "validation_rows")
    manifest = {
        **stamp(family, experiment, kind.knobs),
        **{key: first[key] for key in shared},
        "seed": request.seed,
        "validation_loss": float(np.mean(losses)),
        "parent_id": before.model_id if before is not None and _parents(request, len(members))[0] is not None else None,
        MEMBERS: [member.model_id for member in members],
    }
    return FittedEnsemble(members, manifest)


def _parents(request: FitRequest, seeds: int) -> Sequence[FittedModel | None]:
    before = request.warm_from
    return before.members if isinstance(before, FittedEnsemble) and len(before.members) == seeds else [None] * seeds
