"""Proofs, from what is stored, that nothing looked ahead; both trust neither the plan nor the walk.

    check_no_forecast_saw_its_label    cut-offs from the checkpoints' own manifests, label ends computed anew
    check_replay                       predictions made again on a panel whose future is rewritten

Axes: T bars of the panel, N assets, F features, H horizons, R rows of a day, K stored predictions.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import CheckpointError, PrunedModelError
from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import has_weights, read_manifest
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.past import Load
from crossattn_core.walk_forward.predictions import predict
from crossattn_core.walk_forward.store import read_predictions

__all__ = [
    "LEAK_COLUMNS",
    "REPLAY_COLUMNS",
    "check_no_forecast_saw_its_label",
    "check_replay",
    "replayable_days",
    "sampled_days",
    "sampled_rows",
]

LEAK_COLUMNS = ("as_of", "asset_id", "family", "horizon", "model_id", "cut_off", "label_end", "fault")
"""Grain: one row a prediction that cannot be defended. ``label_end`` is NaT while the label is still open."""

REPLAY_COLUMNS = ("as_of", "asset_id", "family", "horizon", "stored", "replayed")
"""Grain: one row a prediction that comes out otherwise."""


def check_no_forecast_saw_its_label(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    *,
    first: date | None = None,
    last: date | None = None,
    load: Load = load_model,
) -> pd.DataFrame:
    """List the stored predictions whose model could have known their outcome; an empty frame is the proof.

    A prediction is sound when its model's checkpoint can be read, its cut-off lies at or before the day's 00:00 (before
    ``as_of``), and the label, where it is known by now, ended after that cut-off. The day's 00:00 counts, not ``as_of``:
    a model in force may not have been fitted in the course of the day it serves.
    """
    predictions = read_predictions(home, first or date.min, last or date.max)
    if predictions.empty:
        return pd.DataFrame(columns=list(LEAK_COLUMNS))
    cut_off_by_model = {model_id: _cut_off(home, experiment, model_id, load) for model_id in predictions["model_id"].unique()}
    cut_off = pd.to_datetime(predictions["model_id"].map(cut_off_by_model), format="ISO8601").astype("datetime64[us]")
    label_end = pd.Series(_label_ends(panel, experiment, predictions), index=predictions.index)
    day_start = (predictions["as_of"] - pd.Timedelta(1, "us")).dt.normalize()
    fault = pd.Series("", index=predictions.index)
    fault[label_end <= cut_off] = "the label ended before the model's cut-off"
    fault[cut_off > day_start] = "the model knows rows of the day that it serves"
    fault[cut_off.isna()] = "the model's checkpoint holds no cut-off"
    checked = predictions.assign(cut_off=cut_off, label_end=label_end, fault=fault)
    return checked.loc[fault != "", list(LEAK_COLUMNS)].reset_index(drop=True)


def sampled_days(days: Sequence[date], count: int = 3) -> list[date]:
    """First, last and evenly between: at most ``count`` of ``days``.

    >>> sampled_days([date(2025, 1, day) for day in range(1, 10)])
    [datetime.date(2025, 1, 1), datetime.date(2025, 1, 5), datetime.date(2025, 1, 9)]
    """
    places = np.linspace(0, len(days) - 1, min(count, len(days))).round().astype(int)
    return [days[place] for place in dict.fromkeys(places.tolist())]


def replayable_days(home: Home, predictions: pd.DataFrame) -> list[date]:
    """The days of ``predictions`` all of whose models still have their weights, ascending."""
    kept = {model_id: has_weights(home.models / str(model_id)) for model_id in predictions["model_id"].unique()}
    days = (predictions["as_of"] - pd.Timedelta(1, "us")).dt.date.tolist()
    models = predictions["model_id"].tolist()
    return sorted(set(days) - {day for day, model_id in zip(days, models, strict=True) if not kept[model_id]})


def check_replay(
    home: Home, experiment: Experiment, panel: Panel, days: Sequence[date], *, seed: int = 0, load: Load = load_model
) -> pd.DataFrame:
    """Predict ``days`` again with the stored checkpoints, on panels in which everything after a row of the day is random.

    Three such rows are tried a day; predictions up to the row must come out bit for bit. An empty frame is the proof: no
    stored prediction used anything that lay after its own ``as_of``.
    """
    random = np.random.default_rng(seed)
    faults: list[tuple] = []
    for day in days:
        stored = read_predictions(home, day, day)
        rows_R = np.unique(np.searchsorted(panel.as_of_T, stored["as_of"].to_numpy("datetime64[us]")))
        for row in sampled_rows(rows_R):
            rewritten = _with_random_future(panel, row, int(rows_R[-1]) + 1, random)
            for (family, model_id), predictions in stored.groupby(["family", "model_id"]):
                # All rows of the day in one batch, as they were made: another batch size moves the last bit.
                model = load(home.models / str(model_id), experiment)
                replayed = predict(model, rewritten, rows_R, experiment.labels)
                for entry in predictions[predictions["as_of"] <= panel.as_of_T[row]].to_dict("records"):
                    r = int(np.searchsorted(panel.as_of_T[rows_R], np.datetime64(entry["as_of"], "us")))
                    n, h = panel.asset_ids.index(entry["asset_id"]), replayed.horizons.index(entry["horizon"])
                    value = replayed.value_RNH[r, n, h]
                    if np.float32(entry["value"]) != value:
                        where = (entry["as_of"], entry["asset_id"], family, entry["horizon"])
                        faults.append((*where, entry["value"], float(value)))
    return pd.DataFrame(faults, columns=list(REPLAY_COLUMNS))


def sampled_rows(rows_R: NDArray[np.integer]) -> list[int]:
    """First, middle and one before the last of a day's rows: after each of them something is left to rewrite."""
    last = max(len(rows_R) - 2, 0)
    return [int(rows_R[place]) for place in dict.fromkeys((0, last // 2, last))] if len(rows_R) else []


def _cut_off(home: Home, experiment: Experiment, model_id: str, load: Load) -> str | None:
    try:
        return load(home.models / model_id, experiment).manifest.get("cut_off")
    except PrunedModelError:
        return read_manifest(home.models / model_id).get("cut_off")
    except (CheckpointError, FileNotFoundError):
        return None


def _label_ends(panel: Panel, experiment: Experiment, predictions: pd.DataFrame) -> NDArray[np.datetime64]:
    """(K,) instant at which each prediction's label ends; NaT while it is open."""
    end_TNH = compute_labels(panel, experiment.labels).end_TNH
    row_K = np.searchsorted(panel.as_of_T, predictions["as_of"].to_numpy())
    asset_K = pd.Index(panel.asset_ids).get_indexer(pd.Index(predictions["asset_id"]))
    horizon_K = pd.Index(experiment.labels.horizons).get_indexer(pd.Index(predictions["horizon"]))
    known_K = (row_K < len(panel.as_of_T)) & (asset_K >= 0) & (horizon_K >= 0)
    ends_K = np.full(len(predictions), -1)
    ends_K[known_K] = end_TNH[row_K[known_K], asset_K[known_K], horizon_K[known_K]]
    return np.where(ends_K >= 0, panel.as_of_T[np.maximum(ends_K, 0)], np.datetime64("NaT", "us"))


def _with_random_future(panel: Panel, row: int, stop: int, random: np.random.Generator) -> Panel:
    """The first ``stop`` rows of the panel, random after ``row``."""
    known = panel.until(stop)
    feature_TNF, price_TN, mark_TN = (
        np.array(values) for values in (known.feature_TNF, known.trade_price_TN, known.mark_price_TN)
    )
    later = slice(row + 1, stop)
    feature_TNF[later] = random.normal(size=feature_TNF[later].shape).astype(np.float32)
    factor = np.exp(random.normal(0, 0.05, price_TN[later].shape))
    price_TN[later] *= factor
    mark_TN[later] *= factor
    name = f"{known.content_hash} rewritten after {row}"
    return replace(known, feature_TNF=feature_TNF, trade_price_TN=price_TN, mark_price_TN=mark_TN, content_hash=name)
