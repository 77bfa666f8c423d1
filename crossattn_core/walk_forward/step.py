"""One day of the walk-forward: decide, fit if asked, forecast, store.

Axes: R rows of a day, N assets, H horizons.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import EpochReport, FitRequest, FittedModel
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash
from crossattn_core.regimes.market_days import BARS_A_DAY
from crossattn_core.walk_forward.day_result import DayResult, EpochOfDay, Fit, Load
from crossattn_core.walk_forward.drift import drift_edges, row_weights
from crossattn_core.walk_forward.fingerprint import history_of_fit, known_panel, panel_chain, settings_hash
from crossattn_core.walk_forward.health import Health, check_health
from crossattn_core.walk_forward.memory import RollingMemory
from crossattn_core.walk_forward.plan import Decision
from crossattn_core.walk_forward.state import DayStart, canonical, first_state, look, plain, roll_back_state
from crossattn_core.walk_forward.store import (
    Event,
    forget_after,
    read_day,
    read_events,
    write_day,
    write_forecasts,
)
from crossattn_core.walk_forward.wanted_store import answers_hash, write_wanted

__all__ = ["Walker"]

_REMEMBERED = 12
"""Healthy models of a family that a rollback without a name can reach back through."""


class Walker:
    """One pass over the days, with what a pass keeps in memory: models by id, recent forecasts, regimes."""

    def __init__(
        self,
        home: Home,
        experiment: Experiment,
        panel: Panel,
        report: Callable[[EpochOfDay], None],
        fit: Fit,
        load: Load,
    ) -> None:
        self.home, self.experiment, self.panel = home, experiment, panel
        self.report, self.fit = report, fit
        self.families = experiment.retrain.families
        self.chain = panel_chain(panel)
        self.first_day = next(iter(self.chain), date.min)
        self.settings_hash = settings_hash(experiment)
        self.events = read_events(home)
        self.previous: dict[str, Any] | None = None
        self.memory = RollingMemory(home, experiment, panel, self.first_day, load)

    def step(self, day: date) -> DayResult:
        """Step the day after the newest stepped one; reuse it where it still stands."""
        started = time.perf_counter()
        before = self.chain.get(day - timedelta(days=1), "")
        todays_events = [event for event in self.events if event.day == day]
        model_inputs = combined_hash(
            self.settings_hash,
            before,
            self.previous["plan_hash"] if self.previous else "",
            *(canonical(asdict(event)) for event in todays_events),
        )
        forecast_inputs = combined_hash(model_inputs, self.chain[day])
        stored = read_day(self.home, day)
        planned = stored is not None and stored["model_inputs"] == model_inputs and self._models_exist(stored)
        if stored and planned and stored["forecast_inputs"] == forecast_inputs and self._forecasts_stand(day, stored):
            self.previous = stored
            return DayResult(day, True, stored["rows"], seconds=time.perf_counter() - started)

        trained: dict[str, FittedModel] = {}
        epochs: dict[str, list[EpochReport]] = {}
        record = dict(stored) if stored and planned else self._plan(day, todays_events, trained, epochs)
        record |= {"day": day.isoformat(), "model_inputs": model_inputs, "forecast_inputs": forecast_inputs}
        record["previous_hash"] = self.previous["plan_hash"] if self.previous else ""
        record["plan_hash"] = combined_hash(model_inputs, canonical(record["rows"]), canonical(record["state"]))
        if stored and stored["plan_hash"] != record["plan_hash"]:
            forget_after(self.home, day)
        count, record["forecast_hash"] = self._forecast(day, record["state"]["in_force"])
        write_day(self.home, day, record)
        self.previous = record
        manifests = {family: model.manifest for family, model in trained.items()}
        return DayResult(day, False, record["rows"], manifests, epochs, count, time.perf_counter() - started)

    def _plan(
        self,
        day: date,
        events: list[Event],
        trained: dict[str, FittedModel],
        epochs: dict[str, list[EpochReport]],
    ) -> dict[str, Any]:
        """Decide and fit; returns the rows of the plan and the state that the next day reads."""
        cut_off = self.memory.cut_off(day)
        known = known_panel(self.panel, cut_off + 1, self.chain.get(day - timedelta(days=1), ""))
        state = json.loads(canonical(self.previous["state"])) if self.previous else first_state()
        start = look(self.memory, day, known, state, events, self.experiment.retrain)
        decision, in_force = start.decision, start.in_force
        verdicts: dict[str, tuple[str, Health]] = {}
        edge_FQ: NDArray[np.float64] | None = None
        if decision.action == "retrain":
            weight_T = row_weights(cut_off + 1, start.regimes.regime_D, in_force.regime, self.experiment.retrain)
            edge_FQ = drift_edges(known, weight_T)
            self.memory.remember_deciles(day, edge_FQ)
            drift = self.memory.drift(known, day.isoformat())
            for family in self.families:
                verdicts[family] = self._fit(day, family, known, weight_T, drift, state, trained, epochs)
            state["attempts"] += 1
            state["reference_day"] = day.isoformat()
            state["drift_at_attempt"] = plain(drift)
        elif decision.reason == "rollback":
            decision = Decision(
                "carry",
                "rollback",
                "; ".join(roll_back_state(state, self.families, event) for event in events if event.kind == "rollback"),
            )
        if decision.action == "retrain" or decision.reason == "rollback":
            state["last_attempt"], state["regime_at_attempt"] = day.isoformat(), in_force.regime
        record: dict[str, Any] = {
            "rows": self._rows(day, decision, state, verdicts, start),
            "state": state,
        }
        if edge_FQ is not None:
            record["reference"] = [[plain(edge) for edge in edge_Q] for edge_Q in edge_FQ.tolist()]
        return record

    def _fit(
        self,
        day: date,
        family: str,
        known: Panel,
        weight_T: NDArray[np.float32],
        drift: float,
        state: dict[str, Any],
        trained: dict[str, FittedModel],
        epochs: dict[str, list[EpochReport]],
    ) -> tuple[str, Health]:
        """Fit one family; a healthy model is in force from now on, an unhealthy one never serves."""
        serving = state["in_force"].get(family, "")
        warm = serving if state["attempts"] % self.experiment.retrain.cold_every else ""
        curve: list[EpochReport] = []

        def hear(epoch: EpochReport) -> None:
            curve.append(epoch)
            self.report(EpochOfDay(day, family, epoch))

        history, history_weight_T = history_of_fit(known, weight_T, self.experiment)
        request = FitRequest(
            panel=history,
            cut_off=len(history.as_of_T) - 1,
            row_weight_T=history_weight_T,
            seed=self.experiment.training.seed + day.toordinal(),
            warm_from=self.memory.model(warm) if warm else None,
        )
        try:
            model = self.fit(family, request, self.experiment, report=hear)
            model.save(self.home.models / model.model_id)
            # What serves is what was stored: forecasts never depend on whether the fit is still in memory.
            model = self.memory.model(model.model_id)
            most = self.experiment.retrain.max_drift_served
            health = check_health(model, known, len(known.as_of_T) - 1, drift=drift, max_drift=most)
        except TrainingError as error:
            return "", Health(False, str(error))
        trained[family], epochs[family] = model, curve
        told = model.manifest
        state["facts"][model.model_id] = {
            "parent_id": told.get("parent_id") or "",
            "train_start": max(str(known.as_of_T[int(np.argmax(weight_T > 0))]), told.get("train_start", "")),
            "cut_off": str(known.as_of_T[-1]),
            "rows": int(told.get("train_rows", (weight_T > 0).sum())),
            "validation_loss": plain(told.get("validation_loss")),
        }
        if health.healthy:
            state["in_force"][family] = model.model_id
            state["history"][family] = [*state["history"].get(family, []), model.model_id][-_REMEMBERED:]
        return model.model_id, health

    def _rows(
        self,
        day: date,
        decision: Decision,
        state: dict[str, Any],
        verdicts: dict[str, tuple[str, Health]],
        start: DayStart,
    ) -> list[dict[str, Any]]:
        remembered = {model_id for ids in state["history"].values() for model_id in ids} | set(state["in_force"].values())
        rows = []
        for family in self.families:
            model_id = state["in_force"].get(family, "")
            trained_id, health = verdicts.get(family, ("", Health(bool(model_id), "")))
            facts = state["facts"].get(model_id, {})
            rows.append(
                {
                    "day": day.isoformat(),
                    "action": decision.action,
                    "reason": decision.reason,
                    "why": decision.why,
                    "family": family,
                    "model_id": model_id,
                    "parent_id": facts.get("parent_id", ""),
                    "trained_id": trained_id,
                    "healthy": health.healthy,
                    "health": health.why,
                    "regime": start.in_force.regime,
                    "window_id": start.in_force.window_id,
                    "train_start": facts.get("train_start"),
                    "cut_off": facts.get("cut_off"),
                    "rows": facts.get("rows", 0),
                    "validation_loss": facts.get("validation_loss"),
                    "drift": plain(start.drift),
                    "ic_gap": plain(start.ic_gap),
                }
            )
        state["facts"] = {model_id: facts for model_id, facts in state["facts"].items() if model_id in remembered}
        return rows

    def _forecast(self, day: date, model_by_family: dict[str, str]) -> tuple[int, str]:
        """Forecast the rows of ``day`` that the panel holds; returns how many answers are stored and their hash."""
        first = self.memory.cut_off(day) + 1
        stop = min(first + BARS_A_DAY, len(self.panel.as_of_T))
        known = known_panel(self.panel, stop, self.chain[day])
        rows = np.arange(first, stop)
        models = {family: self.memory.model(model_by_family[family]) for family in model_by_family if family in self.families}
        forecast_by_family_RNH = {family: model.forecast(known, rows) for family, model in models.items()}
        weights = {family: model.weights(known, rows) for family, model in models.items()}
        weight_by_family_RN = {family: weight_RN for family, weight_RN in weights.items() if weight_RN is not None}
        self.memory.remember_forecasts(day, {family: array_RNH[:, :, 0] for family, array_RNH in forecast_by_family_RNH.items()})
        as_of_R, asset_ids = known.as_of_T[first:], known.asset_ids
        horizons = self.experiment.labels.horizons
        wanted = write_wanted(self.home, day, as_of_R, asset_ids, weight_by_family_RN, model_by_family)
        count, _ = write_forecasts(self.home, day, as_of_R, asset_ids, horizons, forecast_by_family_RNH, model_by_family)
        return count + wanted, answers_hash(self.home, day)

    def _models_exist(self, stored: dict[str, Any]) -> bool:
        return all((self.home.models / model_id).is_dir() for model_id in stored["state"]["in_force"].values())

    def _forecasts_stand(self, day: date, stored: dict[str, Any]) -> bool:
        return answers_hash(self.home, day) == stored["forecast_hash"]
