"""Fits that a pool makes before the walk asks for them.

The first fit that the walk asks for sets off a look ahead: the days from there to the last are decided again as if every fit came
out healthy and no forecast were known yet, and the fits that they come to are submitted, warm ones behind their predecessors. The
walk goes on as ever and takes a fit that is there under its request's key. A request without one (a fit came out unhealthy, a
forecast called for a retrain) sets off another look ahead from there; whatever is still missing is fitted in this process. So a
pool decides when a fit is made and never which.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from crossattn_core.compute.pool import Pool, Task
from crossattn_core.days import days_between
from crossattn_core.experiment import Experiment
from crossattn_core.families.ensemble import member_requests
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import average_seeds, seeds_of
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.training.epochs import EpochReport
from crossattn_core.walk_forward.day import Fit, Walker, fit_request, warm_start, weights_at
from crossattn_core.walk_forward.drift import drift_edges
from crossattn_core.walk_forward.overrides import with_rollbacks
from crossattn_core.walk_forward.past import Load
from crossattn_core.walk_forward.state import ModelFacts

__all__ = ["FitsAhead"]


class Made(NamedTuple):
    """What a fit gave, in the worker and on its way back."""

    model: FittedModel
    epochs: tuple[EpochReport, ...]


@dataclass(frozen=True)
class FitSpec:
    """A fit as it is sent: the panel is there already, of its predecessor comes whatever that came to."""

    family: str
    first_row: int
    request: FitRequest
    """Its panel and its predecessor left out."""
    panel_hash: str

    def on(self, panel: Panel, warm_from: FittedModel | None) -> FitRequest:
        """The request on the whole panel of the walk."""
        rows = slice(self.first_row, self.first_row + self.request.cut_off + 1)
        return replace(self.request, panel=panel.cut(rows, self.panel_hash), warm_from=warm_from)


class FitsAhead:
    """A walk's ``fit`` that takes what a pool has made."""

    def __init__(self, walker: Walker, last: date, pool: Pool) -> None:
        self.walker, self.last, self.pool = walker, last, pool
        self.fit, self.load = walker.fit, walker.past.load
        self._tasks: dict[str, Task] = {}
        """Key of a request -> the fit, of those that the walk has not asked for yet."""
        self._key_by_model: dict[str, str] = {}
        """Id of a delivered model -> key of its request."""
        self._shared: tuple[Any, Any] | None = None

    def __call__(
        self, family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
    ) -> FittedModel:
        """The fit, from the pool or made here; same call as ``families.registry.fit_model``, and its errors."""
        warm = request.warm_from
        key = self._key(family, request, "" if warm is None else warm.model_id)
        if key not in self._tasks:
            self._look_ahead()
        task = self._tasks.pop(key, None)
        if task is None:
            return self.fit(family, request, experiment, report=report)
        made: Made = task.result()
        for epoch in made.epochs:
            report(epoch)
        self._key_by_model[made.model.model_id] = key
        return made.model

    def close(self) -> None:
        """Drop what the walk never asked for."""
        self.pool.cancel(self._tasks.values())
        self._tasks.clear()

    def _look_ahead(self) -> None:
        """Submit the fits of the day in hand, which retrains, and of the days after it; drop those that are none of them."""
        ahead = self._requests_ahead()
        if len(ahead) == 1 and seeds_of(ahead[0][1], self.walker.experiment) == 1:
            return  # nothing to be made beside it
        kept: dict[str, Task] = {}
        for key, family, request, warm in ahead:
            kept[key] = self._tasks.pop(key, None) or self._submit(family, request, self._predecessor(warm, kept))
        self.pool.cancel(self._tasks.values())
        self._tasks = kept

    def _requests_ahead(self) -> list[tuple[str, str, FitRequest, str]]:
        """(key, family, request, its predecessor's name) of every fit from the day in hand on, in order."""
        walker, experiment = self.walker, self.walker.experiment
        families, past, state = experiment.retrain.families, walker.past.without_forecasts(), walker.state
        found: list[tuple[str, str, FitRequest, str]] = []
        for day in days_between(walker.day, self.last):
            overrides = [override for override in walker.overrides if override.day == day]
            start = past.start(day, state, overrides)
            if day == walker.day or start.decision.action == "retrain":
                weight_T, after = weights_at(start, experiment), state
                request = fit_request(day, start.known, weight_T, experiment, None)
                for family in families:
                    warm = warm_start(state, family, experiment)
                    key = self._key(family, request, warm)
                    found.append((key, family, request, warm))
                    after = after.with_model(family, key, ModelFacts())
                edge_FQ = drift_edges(start.known, weight_T)
                past.remember_deciles(day, edge_FQ)
                state = after.retrained(day, start.in_force.regime, past.stability(start.known, edge_FQ))
            elif start.decision.reason == "rollback":
                state = with_rollbacks(state, overrides, families)[0].attempted(day, start.in_force.regime)
        return found

    def _predecessor(self, name: str, ahead: dict[str, Task]) -> Task | FittedModel | None:
        """What a warm fit starts from: the task that makes it, or the stored model."""
        return ahead.get(name) or (self.walker.past.model(name) if name else None)

    def _submit(self, family: str, request: FitRequest, warm: Task | FittedModel | None) -> Task:
        panel, experiment = self._shared_once()
        first_row = self.walker.past.panel.row_of(request.panel.as_of_T[0])
        bare = replace(request, panel=request.panel.cut(slice(0), ""))
        spec = FitSpec(family, first_row, bare, request.panel.content_hash)
        seeds = seeds_of(family, self.walker.experiment)
        common = self.fit, self.load, spec, panel, experiment, warm
        if seeds == 1:
            return self.pool.submit(_fit, *common)
        members = [self.pool.submit(_fit_member, n, *common) for n in range(seeds)]
        return self.pool.submit(_average, *common, *members)

    def _shared_once(self) -> tuple[Any, Any]:
        if self._shared is None:
            self._shared = self.pool.share(self.walker.past.panel.in_memory()), self.pool.share(self.walker.experiment)
        return self._shared

    def _key(self, family: str, request: FitRequest, warm: str) -> str:
        """Of a request: what decides its result, the predecessor by the key of its own request where it has one."""
        name = self._key_by_model.get(warm, warm)
        weights = combined_hash(request.known_weight_T.tobytes().hex())
        return combined_hash(family, request.panel.content_hash, str(request.cut_off), weights, str(request.seed), name)


def _request(spec: FitSpec, panel: Panel, experiment: Experiment, load: Load, warm: Made | FittedModel | None) -> FitRequest:
    """The request in a worker. A predecessor is read back from what is stored of it, as the walk does: that is what serves."""
    if isinstance(warm, Made):
        with tempfile.TemporaryDirectory() as folder:
            stored = warm.model.save(Path(folder) / warm.model.model_id)
            return spec.on(panel, load(stored, experiment))
    return spec.on(panel, warm)


def _fit(fit: Fit, load: Load, spec: FitSpec, panel: Panel, experiment: Experiment, warm: Made | FittedModel | None) -> Made:
    epochs: list[EpochReport] = []
    model = fit(spec.family, _request(spec, panel, experiment, load, warm), experiment, report=epochs.append)
    return Made(model, tuple(epochs))


def _fit_member(
    n: int, fit: Fit, load: Load, spec: FitSpec, panel: Panel, experiment: Experiment, warm: Made | FittedModel | None
) -> Made:
    """The ``n``-th member of an ensemble: a fit of one seed."""
    request = member_requests(_request(spec, panel, experiment, load, warm), experiment.retrain.seeds)[n]
    epochs: list[EpochReport] = []
    retrain = experiment.retrain.model_copy(update={"seeds": 1})
    model = fit(spec.family, request, experiment.model_copy(update={"retrain": retrain}), report=epochs.append)
    return Made(model, tuple(epochs))


def _average(
    _fit: Fit,
    load: Load,
    spec: FitSpec,
    panel: Panel,
    experiment: Experiment,
    warm: Made | FittedModel | None,
    *members: Made,
) -> Made:
    request = _request(spec, panel, experiment, load, warm)
    model = average_seeds([member.model for member in members], spec.family, request, experiment)
    return Made(model, tuple(epoch for member in members for epoch in member.epochs))
