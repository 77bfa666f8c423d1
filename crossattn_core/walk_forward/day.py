"""One day of the walk-forward: decide, fit where that is a retrain, predict, store.

Axes: T bars up to the cut-off, N assets, H horizons, F features, Q inner edges of equal-count bins.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import has_weights
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.training.epochs import EpochReport
from crossattn_core.walk_forward.drift import drift_edges, history_of_fit, row_weights
from crossattn_core.walk_forward.fingerprint import canonical, day_inputs, settings_hash
from crossattn_core.walk_forward.health import Health, check_health
from crossattn_core.walk_forward.overrides import Override, read_overrides, with_rollbacks
from crossattn_core.walk_forward.past import DayStart, Load, Past
from crossattn_core.walk_forward.plan import Decision
from crossattn_core.walk_forward.predictions import predict
from crossattn_core.walk_forward.state import ModelFacts, State, finite
from crossattn_core.walk_forward.store import (
    forget_after,
    plan_frame,
    predictions_hash,
    read_day,
    write_day,
    write_predictions,
)

__all__ = ["DayResult", "EpochOfDay", "Fit", "Walker", "fit_request", "warm_start", "weights_at"]

Fit = Callable[..., FittedModel]
"""Same call as ``families.registry.fit_model(family, request, experiment, *, report)``."""


@dataclass(frozen=True)
class EpochOfDay:
    """One epoch of one family's fit on one day, as it ends."""

    day: date
    family: str
    epoch: EpochReport


@dataclass(frozen=True)
class DayResult:
    """What a day gave."""

    day: date
    reused: bool
    """Whether the stored day is still what the walk would make."""
    rows: list[dict[str, Any]]
    """The plan, one row a family, as stored."""
    trained: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Manifest by family of the models fitted on this day."""
    epochs: dict[str, list[EpochReport]] = field(default_factory=dict)
    """Loss curve by family of the models fitted on this day."""
    forecast_rows: int = 0
    """Predictions stored, of either kind."""
    seconds: float = 0.0
    """Time spent on the day; reported, never stored."""

    @property
    def plan(self) -> pd.DataFrame:
        """The plan, one row a family (``PLAN_COLUMNS``)."""
        return plan_frame(self.rows)

    @property
    def action(self) -> str:
        """'retrain', 'carry' or 'wait'."""
        return self.rows[0]["action"]

    @property
    def reason(self) -> str:
        """Why: see ``plan.Reason``."""
        return self.rows[0]["reason"]


class Trained(NamedTuple):
    """What came of one family's fit."""

    model: FittedModel | None
    """None where the fit failed."""
    health: Health
    facts: ModelFacts
    epochs: list[EpochReport]


class Walker:
    """One pass over the days: the state after the newest one, and what the pass keeps in memory.

    Args:
        refit: fit models again whose weights are no longer kept, though their days' forecasts are.
    """

    def __init__(
        self,
        home: Home,
        experiment: Experiment,
        panel: Panel,
        report: Callable[[EpochOfDay], None],
        fit: Fit,
        load: Load,
        codes: Sequence[str],
        refit: bool = False,
    ) -> None:
        self.home, self.experiment, self.report, self.fit, self.refit = home, experiment, report, fit, refit
        self.settings_by_code = {code: settings_hash(experiment, code) for code in codes}
        self.overrides = read_overrides(home)
        self.past = Past(home, experiment, panel, load)
        self.state, self.plan_hash = State(), ""
        self.day = self.past.first_day
        """The newest day that was decided anew."""

    def step(self, day: date) -> DayResult:
        """Step the day after the newest stepped one; reuse it where its inputs are the stored ones."""
        started = time.perf_counter()
        overrides = [override for override in self.overrides if override.day == day]
        stored = read_day(self.home, day)
        code = stored.get("code", "") if stored else ""
        code = code if code in self.settings_by_code else next(iter(self.settings_by_code))
        inputs = day_inputs(day, self.past.chain, self.settings_by_code[code], self.plan_hash, overrides)
        planned = stored if stored and stored["model_inputs"] == inputs.models else None
        made = (inputs.forecasts, predictions_hash(self.home, day))
        is_whole = planned is not None and (planned["forecast_inputs"], planned["forecast_hash"]) == made
        if planned and (self.refit or not is_whole) and not self._models_exist(planned):
            planned = None
        trained: dict[str, Trained] = {}
        count = 0
        if planned and is_whole:
            record = planned
        else:
            made, trained = (planned, trained) if planned else self._plan(day, overrides)
            record = {
                **made,
                "day": day.isoformat(),
                "code": code,
                "model_inputs": inputs.models,
                "forecast_inputs": inputs.forecasts,
                "previous_hash": self.plan_hash,
                "plan_hash": combined_hash(inputs.models, canonical(made["rows"]), canonical(made["state"])),
            }
            if stored and stored["plan_hash"] != record["plan_hash"]:
                forget_after(self.home, day)
            count = self._predict(day, record["state"]["in_force"])
            record["forecast_hash"] = predictions_hash(self.home, day)
            write_day(self.home, day, record)
        self.state, self.plan_hash = State.from_json(record["state"]), record["plan_hash"]
        models = {family: made.model for family, made in trained.items() if made.model is not None}
        return DayResult(
            day,
            reused=record is planned,
            rows=record["rows"],
            trained={family: model.manifest for family, model in models.items()},
            epochs={family: trained[family].epochs for family in models},
            forecast_rows=count,
            seconds=time.perf_counter() - started,
        )

    def _plan(self, day: date, overrides: list[Override]) -> tuple[dict[str, Any], dict[str, Trained]]:
        """Decide and fit; returns the rows of the plan with the state that the next day reads, and the day's fits."""
        self.day = day
        start, state = self.past.start(day, self.state, overrides), self.state
        trained: dict[str, Trained] = {}
        record: dict[str, Any] = {}
        if start.decision.action == "retrain":
            weight_T = weights_at(start, self.experiment)
            edge_FQ = drift_edges(start.known, weight_T)
            drift = self.past.stability(start.known, edge_FQ)
            for family in self.experiment.retrain.families:
                made = trained[family] = self._fit(day, family, start.known, weight_T, drift)
                if made.model is not None and made.health.healthy:
                    state = state.with_model(family, made.model.model_id, made.facts)
            state = state.retrained(day, start.in_force.regime, drift)
            self.past.remember_deciles(day, edge_FQ)
            record["reference"] = [[finite(edge) for edge in edge_Q] for edge_Q in edge_FQ.tolist()]
        elif start.decision.reason == "rollback":
            state, why = with_rollbacks(state, overrides, self.experiment.retrain.families)
            state = state.attempted(day, start.in_force.regime)
            start = replace(start, decision=Decision("carry", "rollback", why))
        rows = [_plan_row(day, family, start, state, trained.get(family)) for family in self.experiment.retrain.families]
        return record | {"rows": rows, "state": state.to_json()}, trained

    def _fit(self, day: date, family: str, known: Panel, weight_T: NDArray[np.float32], drift: float) -> Trained:
        """Fit one family on ``known`` and check the model's health; an unhealthy one never serves."""
        warm = warm_start(self.state, family, self.experiment)
        epochs: list[EpochReport] = []

        def on_epoch(epoch: EpochReport) -> None:
            epochs.append(epoch)
            self.report(EpochOfDay(day, family, epoch))

        request = fit_request(day, known, weight_T, self.experiment, self.past.model(warm) if warm else None)
        try:
            model = self.fit(family, request, self.experiment, report=on_epoch)
            model.save(self.home.models / model.model_id)
            # What serves is what was stored: forecasts never depend on whether the fit is still in memory.
            model = self.past.model(model.model_id)
            cut_off = len(known.as_of_T) - 1
            health = check_health(model, known, cut_off, drift=drift, max_drift=self.experiment.retrain.max_drift_served)
        except TrainingError as error:
            return Trained(None, Health(False, str(error)), ModelFacts(), [])
        return Trained(model, health, _facts(model, known, weight_T), epochs)

    def _predict(self, day: date, model_by_family: dict[str, str]) -> int:
        """Predict the rows of ``day`` that the panel holds with the models in force; returns how many values are stored."""
        rows = self.past.rows(day)
        known = self.past.panel.cut(slice(rows.stop), self.past.chain[day])
        labels = self.experiment.labels
        predicted_by_family = {
            family: predict(self.past.model(model_id), known, np.arange(rows.start, rows.stop), labels)
            for family in self.experiment.retrain.families
            if (model_id := model_by_family.get(family))
        }
        returns = {family: predicted for family, predicted in predicted_by_family.items() if predicted.kind == "return"}
        self.past.remember_forecasts(day, {family: predicted.value_RNH[:, :, 0] for family, predicted in returns.items()})
        return write_predictions(self.home, day, known.as_of_T[rows], known.asset_ids, predicted_by_family, model_by_family)

    def _models_exist(self, stored: dict[str, Any]) -> bool:
        return all(has_weights(self.home.models / model_id) for model_id in stored["state"]["in_force"].values())


def weights_at(start: DayStart, experiment: Experiment) -> NDArray[np.float32]:
    """(T,) weight of each row that is known at a day's start, in a fit of that day."""
    known, regime = start.known, start.in_force.regime
    return row_weights(
        len(known.as_of_T), start.regimes.regime_D, regime, experiment.retrain, bars_per_day=known.grid.bars_per_day
    )


def warm_start(state: State, family: str, experiment: Experiment) -> str:
    """The model of ``family`` whose weights the next fit starts from; empty for a cold start."""
    return state.in_force.get(family, "") if state.attempts % experiment.retrain.cold_every else ""


def fit_request(
    day: date, known: Panel, weight_T: NDArray[np.float32], experiment: Experiment, warm_from: FittedModel | None
) -> FitRequest:
    """The fit of any family on ``day``, on the rows of ``known`` that count."""
    history, history_weight_T = history_of_fit(known, weight_T, experiment)
    cut_off, seed = len(history.as_of_T) - 1, experiment.training.seed + day.toordinal()
    return FitRequest(history, cut_off, history_weight_T, seed, warm_from)


def _facts(model: FittedModel, known: Panel, weight_T: NDArray[np.float32]) -> ModelFacts:
    manifest = model.manifest
    return ModelFacts(
        parent_id=manifest.get("parent_id") or "",
        train_start=max(str(known.as_of_T[int(np.argmax(weight_T > 0))]), manifest.get("train_start", "")),
        cut_off=str(known.as_of_T[-1]),
        rows=int(manifest.get("train_rows", (weight_T > 0).sum())),
        validation_loss=finite(manifest.get("validation_loss")),
    )


def _plan_row(day: date, family: str, start: DayStart, state: State, trained: Trained | None) -> dict[str, Any]:
    """The plan of one family (``store.PLAN_COLUMNS``): the model in force after the decision, and the day's own fit."""
    model_id = state.in_force.get(family, "")
    health = Health(bool(model_id), "") if trained is None else trained.health
    return {
        "day": day.isoformat(),
        "action": start.decision.action,
        "reason": start.decision.reason,
        "why": start.decision.why,
        "family": family,
        "model_id": model_id,
        "trained_id": "" if trained is None or trained.model is None else trained.model.model_id,
        "healthy": health.healthy,
        "health": health.why,
        "regime": start.in_force.regime,
        "window_id": start.in_force.window_id,
        **asdict(state.facts.get(model_id, ModelFacts())),
        "drift": finite(start.drift),
        "ic_gap": finite(start.ic_gap),
    }
