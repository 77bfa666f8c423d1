"""What one pass of the walk-forward keeps in memory: models by id, recent forecasts, training deciles, regimes.

Everything here can be read again from the store; keeping it changes the time a day takes and nothing else.

Axes: R rows of a day, N assets, F features, Q inner edges of equal-count bins.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.daily import Regimes, daily_regimes
from crossattn_core.regimes.market_days import BARS_A_DAY
from crossattn_core.regimes.windows import InForce, regime_in_force, regime_windows
from crossattn_core.walk_forward.day_result import Load
from crossattn_core.walk_forward.drift import realised_ic_by_family, stability_index
from crossattn_core.walk_forward.store import forecast_array, read_day

__all__ = ["RollingMemory"]

_MAX_MODELS = 8
_MIN_JUDGED_DAYS = 10
"""Days of forecasts before models are held against each other."""


class RollingMemory:
    """The memory of one pass over the days of ``panel``."""

    def __init__(self, home: Home, experiment: Experiment, panel: Panel, first_day: date, load: Load) -> None:
        self.home, self.experiment, self.panel = home, experiment, panel
        self.first_day, self.load = first_day, load
        self._models: dict[str, FittedModel] = {}
        self._forecasts: dict[date, dict[str, NDArray[np.float32]]] = {}
        self._deciles: dict[str, NDArray[np.float64]] = {}
        self._regimes: tuple[Regimes, pd.DataFrame] | None = None

    def cut_off(self, day: date) -> int:
        """The panel row of ``day`` 00:00; -1 on the first day."""
        return (day - self.first_day).days * BARS_A_DAY - 1

    def model(self, model_id: str) -> FittedModel:
        """A stored model, loaded once."""
        if model_id not in self._models:
            self._models[model_id] = self.load(self.home.models / model_id, self.experiment)
            if len(self._models) > _MAX_MODELS:
                self._models.pop(next(iter(self._models)))
        return self._models[model_id]

    def regime(self, day: date) -> tuple[InForce, Regimes]:
        """What is in force at ``day`` 00:00, and the regimes of the days before it: detectors are causal."""
        if self._regimes is None:
            regimes = daily_regimes(self.panel, self.experiment.regimes)
            self._regimes = regimes, regime_windows(regimes, self.experiment.regimes)
        return regime_in_force(self._regimes[1], day), self._regimes[0].until(day)

    def remember_deciles(self, day: date, edge_FQ: NDArray[np.float64]) -> None:
        """Keep the deciles of the rows that the models of ``day`` were trained on."""
        self._deciles = {day.isoformat(): edge_FQ}

    def remember_forecasts(self, day: date, forecast_by_family_RN: dict[str, NDArray[np.float32]]) -> None:
        """Keep a day's forecasts at the shortest horizon."""
        self._forecasts[day] = forecast_by_family_RN
        self._forecasts.pop(day - timedelta(days=self.experiment.retrain.degraded_days + 2), None)

    def drift(self, known: Panel, reference_day: str) -> float:
        """Population-stability index of the newest days of ``known`` against the training rows of ``reference_day``."""
        if reference_day not in self._deciles:
            stored = read_day(self.home, date.fromisoformat(reference_day)) or {}
            self._deciles = {reference_day: np.array(stored["reference"], dtype=np.float64)}
        first_row = max(len(known.as_of_T) - self.experiment.retrain.drift_days * BARS_A_DAY, 0)
        return stability_index(known, first_row, self._deciles[reference_day])

    def signals(self, day: date, known: Panel, state: dict[str, Any]) -> tuple[float, float]:
        """Drift against the training rows, and how far the first family's rolling IC lies under the best other's."""
        settings = self.experiment.retrain
        drift = ic_gap = float("nan")
        if settings.on_drift and state["reference_day"]:
            drift = self.drift(known, state["reference_day"])
        if settings.on_degraded and len(settings.families) > 1 and state["last_attempt"]:
            # Only what the newest models forecast counts: a fit cannot mend what its predecessor said.
            age_days = (day - date.fromisoformat(state["last_attempt"])).days
            if age_days >= _MIN_JUDGED_DAYS:
                ic_gap = self._ic_gap(day, known, min(settings.degraded_days, age_days))
        return drift, ic_gap

    def _ic_gap(self, day: date, known: Panel, days: int) -> float:
        families = self.experiment.retrain.families
        past_days = [day - timedelta(days=back) for back in range(days, 0, -1)]
        nothing_RN = np.full((BARS_A_DAY, len(self.panel.asset_ids)), np.nan, dtype=np.float32)
        forecast_by_family_RN = {
            family: np.concatenate([self._forecasts_of(past).get(family, nothing_RN) for past in past_days])
            for family in families
        }
        first_row = len(known.as_of_T) - days * BARS_A_DAY
        ic = realised_ic_by_family(known, first_row, forecast_by_family_RN, self.experiment.labels)
        others = [value for family, value in ic.items() if family != families[0] and np.isfinite(value)]
        return max(others) - ic[families[0]] if others else float("nan")

    def _forecasts_of(self, day: date) -> dict[str, NDArray[np.float32]]:
        if day not in self._forecasts:
            rows = slice(self.cut_off(day) + 1, self.cut_off(day) + 1 + BARS_A_DAY)
            horizon = self.experiment.labels.horizons[0]
            self._forecasts[day] = forecast_array(self.home, day, self.panel.as_of_T[rows], self.panel.asset_ids, horizon)
        return self._forecasts[day]
