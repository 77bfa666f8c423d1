"""The light form of the look-ahead proof, for real runs: stored forecasts, made again on a panel whose future is rewritten.

Axes: T bars of the panel, N assets, F features, R rows of a day.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.step import Load
from crossattn_core.walk_forward.wanted_store import read_answers

__all__ = ["REPLAY_COLUMNS", "check_replay", "sampled_days", "sampled_rows"]

REPLAY_COLUMNS = ("as_of", "asset_id", "family", "horizon", "stored", "replayed")
"""Grain: one row a forecast that comes out otherwise."""


def sampled_days(days: Sequence[date], count: int = 3) -> list[date]:
    """First, last and evenly between: at most ``count`` of ``days``.

    >>> sampled_days([date(2025, 1, day) for day in range(1, 10)])
    [datetime.date(2025, 1, 1), datetime.date(2025, 1, 5), datetime.date(2025, 1, 9)]
    """
    places = np.linspace(0, len(days) - 1, min(count, len(days))).round().astype(int)
    return [days[place] for place in dict.fromkeys(places.tolist())]


def check_replay(
    home: Home, experiment: Experiment, panel: Panel, days: Sequence[date], *, seed: int = 0, load: Load = load_model
) -> pd.DataFrame:
    """Forecast ``days`` again with the stored checkpoints, on panels in which everything after a row of the day is random.

    Three such rows are tried a day; forecasts up to the row must come out bit for bit. An empty frame is the proof: no
    stored forecast used anything that lay after its own ``as_of``.
    """
    random = np.random.default_rng(seed)
    faults: list[tuple] = []
    for day in days:
        stored = read_answers(home, day, day, weight_horizon=experiment.labels.trade_horizon)
        rows_R = np.unique(np.searchsorted(panel.as_of_T, stored["as_of"].to_numpy("datetime64[us]")))
        for row in sampled_rows(rows_R):
            rewritten = _with_random_future(panel, row, int(rows_R[-1]) + 1, random)
            for (family, model_id), told in stored.groupby(["family", "model_id"]):
                # All rows of the day in one batch, as they were made: another batch size moves the last bit.
                replayed_RNH = _answers(load(home.models / str(model_id), experiment), rewritten, rows_R, experiment)
                for entry in told[told["as_of"] <= panel.as_of_T[row]].to_dict("records"):
                    r = int(np.searchsorted(panel.as_of_T[rows_R], np.datetime64(entry["as_of"], "us")))
                    n, h = panel.asset_ids.index(entry["asset_id"]), experiment.labels.horizons.index(entry["horizon"])
                    if np.float32(entry["forecast"]) != replayed_RNH[r, n, h]:
                        told_now = (entry["horizon"], entry["forecast"], float(replayed_RNH[r, n, h]))
                        faults.append((entry["as_of"], entry["asset_id"], family, *told_now))
    return pd.DataFrame(faults, columns=list(REPLAY_COLUMNS))


def _answers(model: FittedModel, panel: Panel, rows_R: NDArray[np.integer], experiment: Experiment) -> NDArray[np.float32]:
    """(R, N, H) forecasts; the weights, under every horizon, of a family that gives weights."""
    weight_RN = model.weights(panel, rows_R)
    if weight_RN is None:
        return model.forecast(panel, rows_R)
    return np.repeat(weight_RN[..., None], len(experiment.labels.horizons), axis=2)


def sampled_rows(rows_R: NDArray[np.integer]) -> list[int]:
    """First, middle and one before the last of a day's rows: after each of them something is left to rewrite."""
    last = max(len(rows_R) - 2, 0)
    return [int(rows_R[place]) for place in dict.fromkeys((0, last // 2, last))] if len(rows_R) else []


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
