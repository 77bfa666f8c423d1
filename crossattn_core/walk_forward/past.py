"""A day's start: what is known at D 00:00, and what the plan decides from it.

Axes: T bars of the panel, R rows of a day, N assets, F features, Q inner edges of equal-count bins.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.home import Home
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.daily import Regimes, daily_regimes
from crossattn_core.regimes.windows import InForce, regime_in_force, regime_windows
from crossattn_core.walk_forward.drift import realised_ic_by_family, stability_index
from crossattn_core.walk_forward.fingerprint import panel_chain
from crossattn_core.walk_forward.overrides import Override
from crossattn_core.walk_forward.plan import Decision, Known, decide
from crossattn_core.walk_forward.predictions import as_forecasts
from crossattn_core.walk_forward.state import State
from crossattn_core.walk_forward.store import predictions_of, read_day

__all__ = ["DayStart", "Load", "Past"]

Load = Callable[[Path, Experiment], FittedModel]
"""Same call as ``families.registry.load_model(folder, experiment)``."""

_MAX_MODELS = 8
_MIN_IC_DAYS = 10
"""Days of forecasts before the families' rolling ICs are compared."""


@dataclass(frozen=True)
class DayStart:
    """What is known at a day's 00:00, and what the plan decides."""

    decision: Decision
    known: Panel
    """The panel up to 00:00."""
    in_force: InForce
    """The regime."""
    regimes: Regimes
    """Of the days before."""
    drift: float
    """Population-stability index of the newest features against the training rows; NaN where nothing can be compared."""
    ic_gap: float
    """Rolling IC of the best other family minus that of the first family; NaN while too little is realised."""


class Past:
    """What a pass over the days looks back on: the panel, and the models, forecasts, deciles and regimes made so far.

    Everything here can be read again from the home; keeping it changes the time that a day takes and nothing else.
    """

    def __init__(self, home: Home, experiment: Experiment, panel: Panel, load: Load) -> None:
        self.home, self.experiment, self.panel, self.load = home, experiment, panel, load
        self.chain = panel_chain(panel)
        self.first_day = next(iter(self.chain), date.min)
        self._models: dict[str, FittedModel] = {}
        self._forecasts: dict[date, dict[str, NDArray[np.float32]]] = {}
        self._deciles: dict[date, NDArray[np.float64]] = {}
        self._regimes: tuple[Regimes, pd.DataFrame] | None = None

    def without_forecasts(self) -> "Past":
        """The same looks back where no forecast is known yet: what was forecast calls for no fit."""
        other = copy(self)
        retrain = self.experiment.retrain.model_copy(update={"on_degraded": False})
        other.experiment = self.experiment.model_copy(update={"retrain": retrain})
        return other

    def start(self, day: date, state: State, overrides: Sequence[Override]) -> DayStart:
        """Decide at ``day`` 00:00: what the walk does on that day, and what monitoring shows of it beforehand.

        Args:
            state: as the day before left it.
            overrides: the day's own.
        """
        known = self.known(day)
        in_force, regimes = self._regime(day)
        drift, ic_gap = self._drift(known, state), self._ic_gap(day, known, state)
        notes = {
            kind: "; ".join(override.note or kind for override in overrides if override.kind == kind)
            for kind in ("forced", "rollback")
        }
        facts = Known(
            day=day,
            history_days=(day - self.first_day).days,
            last_attempt=state.last_attempt,
            has_model=bool(state.in_force),
            regime=in_force.regime,
            regime_at_attempt=state.regime_at_attempt,
            drift=drift,
            drift_at_attempt=float("nan") if state.drift_at_attempt is None else state.drift_at_attempt,
            ic_gap=ic_gap,
            forced=notes["forced"],
            rollback=notes["rollback"],
        )
        return DayStart(decide(facts, self.experiment.retrain), known, in_force, regimes, drift, ic_gap)

    def rows(self, day: date) -> slice:
        """The panel's rows of ``day``, as many as it holds."""
        bars = self.panel.grid.bars_per_day
        first = (day - self.first_day).days * bars
        return slice(first, min(first + bars, len(self.panel.as_of_T)))

    def known(self, day: date) -> Panel:
        """The panel up to ``day`` 00:00, under a name that does not depend on what follows."""
        return self.panel.cut(slice(self.rows(day).start), self.chain.get(day - timedelta(days=1), ""))

    def model(self, model_id: str) -> FittedModel:
        """A stored model, loaded once."""
        if model_id not in self._models:
            self._models[model_id] = self.load(self.home.models / model_id, self.experiment)
            if len(self._models) > _MAX_MODELS:
                self._models.pop(next(iter(self._models)))
        return self._models[model_id]

    def stability(self, known: Panel, edge_FQ: NDArray[np.float64]) -> float:
        """Population-stability index of the newest days of ``known`` against training rows with these deciles."""
        first_row = max(len(known.as_of_T) - self.experiment.retrain.drift_days * known.grid.bars_per_day, 0)
        return stability_index(known, first_row, edge_FQ)

    def remember_deciles(self, day: date, edge_FQ: NDArray[np.float64]) -> None:
        """Keep the deciles of the rows that the models of ``day`` were trained on."""
        self._deciles = {day: edge_FQ}

    def remember_forecasts(self, day: date, forecast_by_family_RN: dict[str, NDArray[np.float32]]) -> None:
        """Keep a day's forecasts at the shortest horizon."""
        self._forecasts[day] = forecast_by_family_RN
        self._forecasts.pop(day - timedelta(days=self.experiment.retrain.degraded_days + 2), None)

    def _regime(self, day: date) -> tuple[InForce, Regimes]:
        """What is in force at ``day`` 00:00, and the regimes of the days before it: detectors are causal."""
        if self._regimes is None:
            regimes = daily_regimes(self.panel, self.experiment.regimes)
            self._regimes = regimes, regime_windows(regimes, self.experiment.regimes)
        return regime_in_force(self._regimes[1], day), self._regimes[0].until(day)

    def _drift(self, known: Panel, state: State) -> float:
        if not self.experiment.retrain.on_drift or state.reference_day is None:
            return float("nan")
        if state.reference_day not in self._deciles:
            stored = read_day(self.home, state.reference_day) or {}
            self.remember_deciles(state.reference_day, np.array(stored["reference"], dtype=np.float64))
        return self.stability(known, self._deciles[state.reference_day])

    def _ic_gap(self, day: date, known: Panel, state: State) -> float:
        settings = self.experiment.retrain
        if not settings.on_degraded or len(settings.families) < 2 or state.last_attempt is None:
            return float("nan")
        # Only what the newest models forecast counts: a fit cannot mend what its predecessor forecast.
        age_days = (day - state.last_attempt).days
        if age_days < _MIN_IC_DAYS:
            return float("nan")
        days = min(settings.degraded_days, age_days)
        past_days = [day - timedelta(days=back) for back in range(days, 0, -1)]
        nothing_RN = np.full((known.grid.bars_per_day, len(known.asset_ids)), np.nan, dtype=np.float32)
        forecast_by_family_RN = {
            family: np.concatenate([self._forecasts_of(past).get(family, nothing_RN) for past in past_days])
            for family in settings.families
        }
        first_row = len(known.as_of_T) - days * known.grid.bars_per_day
        ic = realised_ic_by_family(known, first_row, forecast_by_family_RN, self.experiment.labels)
        first, *others = (ic[family] for family in settings.families)
        others = [value for value in others if np.isfinite(value)]
        return max(others) - first if others else float("nan")

    def _forecasts_of(self, day: date) -> dict[str, NDArray[np.float32]]:
        """(R, N) a day's stored forecasts at the shortest horizon, by family."""
        if day not in self._forecasts:
            rows, horizon = self.panel.cut(self.rows(day), ""), self.experiment.labels.horizons[0]
            forecasts = as_forecasts(predictions_of(self.home, [day]))
            self._forecasts[day] = {
                family: forecast_array(forecasts, rows, family, horizon) for family in self.experiment.retrain.families
            }
        return self._forecasts[day]
