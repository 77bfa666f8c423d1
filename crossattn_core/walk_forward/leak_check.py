"""The proof, from what is stored, that no forecast's model saw its label.

It trusts neither the plan nor the walk: cut-offs come from the checkpoints' own manifests, label ends are computed
anew from the panel.
"""

from datetime import date

import numpy as np
import pandas as pd

from crossattn_core.errors import CheckpointError
from crossattn_core.experiment import Experiment
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.day_result import Load
from crossattn_core.walk_forward.wanted_store import read_answers

__all__ = ["LEAK_COLUMNS", "check_no_forecast_saw_its_label"]

LEAK_COLUMNS = ("as_of", "asset_id", "family", "horizon", "model_id", "cut_off", "label_end", "fault")
"""Grain: one row a forecast that cannot be defended. ``label_end`` is NaT while the label is still open."""


def check_no_forecast_saw_its_label(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    *,
    first: date | None = None,
    last: date | None = None,
    load: Load = load_model,
) -> pd.DataFrame:
    """List the stored forecasts whose model could have known their outcome; an empty frame is the proof.

    A forecast stands when its model's checkpoint can be read, its cut-off lies at or before the day's 00:00 (before
    ``as_of``), and the label, where it is known by now, ended after that cut-off. The day's 00:00 counts, not ``as_of``:
    a model in force may not have been fitted in the course of the day it serves.
    """
    forecasts = read_answers(home, first or date.min, last or date.max, weight_horizon=experiment.labels.trade_horizon)
    if forecasts.empty:
        return pd.DataFrame(columns=list(LEAK_COLUMNS))
    cut_off_by_model = {
        model_id: _cut_off(home, experiment, model_id, load) for model_id in sorted(forecasts["model_id"].unique())
    }
    forecasts["cut_off"] = pd.to_datetime(forecasts["model_id"].map(cut_off_by_model), format="ISO8601").astype("datetime64[us]")
    forecasts["label_end"] = _label_ends(panel, experiment, forecasts)
    day_start = (forecasts["as_of"] - pd.Timedelta(1, "us")).dt.normalize()
    fault = pd.Series("", index=forecasts.index)
    fault[forecasts["label_end"] <= forecasts["cut_off"]] = "the label ended before the model's cut-off"
    fault[forecasts["cut_off"] > day_start] = "the model knows rows of the day that it serves"
    fault[forecasts["cut_off"].isna()] = "the model's checkpoint does not say its cut-off"
    forecasts["fault"] = fault
    return forecasts.loc[fault != "", list(LEAK_COLUMNS)].reset_index(drop=True)


def _cut_off(home: Home, experiment: Experiment, model_id: str, load: Load) -> str | None:
    try:
        return load(home.models / model_id, experiment).manifest.get("cut_off")
    except (CheckpointError, FileNotFoundError):
        return None


def _label_ends(panel: Panel, experiment: Experiment, forecasts: pd.DataFrame) -> np.ndarray:
    end_TNH = compute_labels(panel, experiment.labels).end_TNH
    row_K = np.searchsorted(panel.as_of_T, forecasts["as_of"].to_numpy())
    asset_K = forecasts["asset_id"].map({asset_id: n for n, asset_id in enumerate(panel.asset_ids)}).to_numpy()
    horizon_K = forecasts["horizon"].map({horizon: h for h, horizon in enumerate(experiment.labels.horizons)}).to_numpy()
    known_K = (row_K < len(panel.as_of_T)) & ~pd.isna(asset_K) & ~pd.isna(horizon_K)
    ends_K = np.full(len(forecasts), -1)
    ends_K[known_K] = end_TNH[row_K[known_K], asset_K[known_K].astype(int), horizon_K[known_K].astype(int)]
    return np.where(ends_K >= 0, panel.as_of_T[np.maximum(ends_K, 0)], np.datetime64("NaT", "us"))
