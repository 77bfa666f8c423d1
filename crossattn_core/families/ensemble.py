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
from crossattn_core.families.fitted import AttentionWeights, CandidateWeights, Family, FitRequest, FittedModel
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

    def candidate_attention(self, panel: Panel, rows: NDArray[np.integer]) -> CandidateWeights | None:
        """Over the pairs that any member reads; none where a member reads every pair."""
        candidates = [member.candidate_attention(panel, rows) for member in self.members]
        given = [candidate for candidate in candidates if candidate is not None]
        return _over_all_pairs_of(given) if len(given) == len(candidates) else None

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
        "computed_on": _computed_on(members),
        "validation_loss": float(np.mean(losses)),
        "parent_id": before.model_id if before is not None and _parents(request, len(members))[0] is not None else None,
        MEMBERS: [member.model_id for member in members],
    }
    return FittedEnsemble(members, manifest)


def _computed_on(members: Sequence[FittedModel]) -> dict[str, str]:
    """Where and how the members were computed; what differs among them side by side."""
    records = [member.manifest.get("computed_on", {}) for member in members]
    names = dict.fromkeys(name for record in records for name in record)
    return {name: ", ".join(dict.fromkeys(record[name] for record in records if name in record)) for name in names}


def _over_all_pairs_of(members: Sequence[CandidateWeights]) -> CandidateWeights:
    """The mean over the union of each target's pairs: members that were warm started may have kept different ones."""
    first = members[0]
    assets, lags = len(first.asset_ids), len(first.lead_bars_L)
    code_by_member_NK = [member.source_NK * lags + member.lag_NK for member in members]
    codes_N = [np.unique(np.concatenate(codes)) for codes in zip(*code_by_member_NK, strict=True)]
    most = max(len(codes) for codes in codes_N)
    # The target itself at lag index 0, which no member reads, fills up.
    code_NX = np.repeat(np.arange(assets)[:, None] * lags, most, axis=1)
    is_alike = len(first.row_R) > 0 and all(member.weight_RHNK.strides[0] == 0 for member in members)
    rows = 1 if is_alike else len(first.row_R)
    total_RHNX = np.zeros((rows, first.weight_RHNK.shape[1], assets, most))
    for n, codes in enumerate(codes_N):
        code_NX[n, : len(codes)] = codes
        for member, code_NK in zip(members, code_by_member_NK, strict=True):
            total_RHNX[:, :, n, np.searchsorted(codes, code_NK[n])] += member.weight_RHNK[:rows, :, n]
    mean_RHNX = (total_RHNX / len(members)).astype(np.float32)
    mean_RHNX = np.broadcast_to(mean_RHNX, (len(first.row_R), *mean_RHNX.shape[1:]))
    return replace(first, source_NK=code_NX // lags, lag_NK=code_NX % lags, weight_RHNK=mean_RHNX)


def _parents(request: FitRequest, seeds: int) -> Sequence[FittedModel | None]:
    before = request.warm_from
    return before.members if isinstance(before, FittedEnsemble) and len(before.members) == seeds else [None] * seeds
