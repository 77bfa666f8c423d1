"""Evidence on every ordered pair, side by side: three views of one model, and three classical statistics.

Taken on the first day on which a model is in force: what a model rests on changes when the model does, not by the day. Views
look at rows spread over the weeks up to that day's end, so most were training rows: they show what the model uses, never
whether it is right. Statistics look at the newest ``analysis.window_days`` days. Nothing after the day is read, and none
of it is evidence of cause.

Axes: T bars, R sampled rows, N followers (targets), M leaders (sources), L lags.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.lead_lag import first_clean_lags, lead_lag_of
from crossattn_core.analysis.lead_lag_tests import granger, hayashi_yoshida
from crossattn_core.analysis.leader_groups import LeaderGroup, leader_groups
from crossattn_core.analysis.scaled_returns import scaled_prices
from crossattn_core.days import bounds
from crossattn_core.experiment import AnalysisSettings, Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.panel.panel import Panel

__all__ = [
    "AGREEMENT_COLUMNS",
    "EVIDENCE_COLUMNS",
    "STATISTICS",
    "VIEWS",
    "Evidence",
    "evidence_as_of",
    "pair_evidence",
    "sampled_rows",
]

EVIDENCE_COLUMNS = (
    "day",
    "model_id",
    "leader",
    "follower",
    "attention",
    "gradient",
    "occlusion",
    "attention_lag",
    "gradient_lag",
    "correlation",
    "correlation_lag",
    "correlation_q",
    "granger_f",
    "granger_q",
    "hy_correlation",
    "hy_lag",
    "hy_ratio",
    "hy_q",
)
"""Grain: (day, leader, follower). Views are shares over a follower's leaders; lags in bars; NaN where a view or statistic is
unknown (too few common bars, a model without a network)."""

AGREEMENT_COLUMNS = ("day", "model_id", "first_view", "second_view", "rank_correlation", "within_target")
"""Grain: (day, first_view, second_view). Spearman over all ordered pairs, and within followers on average."""

VIEWS = ("attention", "gradient", "occlusion")
"""What a forecast rests on, looked at in three ways (``attribution``)."""

STATISTICS = ("correlation", "granger_f", "hy_ratio")
"""The classical statistics whose order over pairs is compared with the views' (correlation by the size of its z)."""

_SEASONS = 4
"""Weeks (days, with bars under an hour) that the sampled rows come from, and that another history lies back at most."""
_SAMPLED_ROWS = 24


@dataclass(frozen=True)
class Evidence:
    """Views and statistics as of one day."""

    pairs: pd.DataFrame
    """``EVIDENCE_COLUMNS``."""
    agreement: pd.DataFrame
    """``AGREEMENT_COLUMNS``."""


def evidence_as_of(model: FittedModel, panel: Panel, day: date, experiment: Experiment) -> Evidence | None:
    """``pair_evidence`` from what was known at the end of ``day``."""
    known = panel.until(panel.row_of(np.datetime64(bounds(day)[1], "us")) + 1)
    groups = leader_groups(experiment.assets)
    return pair_evidence(model, known, day, experiment.analysis, lookback=experiment.model.lookback, groups=groups)


def pair_evidence(
    model: FittedModel,
    panel: Panel,
    day: date,
    settings: AnalysisSettings,
    *,
    lookback: int,
    groups: Sequence[LeaderGroup] = (),
) -> Evidence | None:
    """Views and statistics as of the panel's last row; none for a model without attention or with too little history.

    Args:
        lookback: bars that the model reads.
        groups: those that the gate tests beside the assets: with them one test serves both. They are no part of the evidence.
    """
    # Here, not above: whoever reads what is stored needs no model, and does without PyTorch.
    from crossattn_core.analysis.attribution import agreement, attribution

    rows, back = sampled_rows(len(panel.as_of_T), lookback, panel.grid.season_bars)
    views = attribution(model, panel, rows, seasons=(back,) if back else ()) if len(rows) else None
    if views is None:
        return None
    statistics, size_by_name_NM = _statistics(panel, settings, groups)
    n_P, m_P = np.nonzero(~np.eye(len(panel.asset_ids), dtype=bool))
    names = np.array(panel.asset_ids)
    pairs = pd.DataFrame({"leader": names[m_P], "follower": names[n_P]})
    for view, share_NM in views.share_by_view_NM.items():
        pairs[view] = share_NM[n_P, m_P].astype(np.float32)
    for view, value_NML in (("attention_lag", views.attention_NML), ("gradient_lag", views.gradient_NML)):
        known_P = np.isfinite(value_NML[n_P, m_P]).all(axis=1) & (value_NML[n_P, m_P].sum(axis=1) > 0)
        pairs[view] = pd.array(np.where(known_P, value_NML[n_P, m_P].argmax(axis=1) + 1, -1), dtype="Int32")
        pairs.loc[~known_P, view] = pd.NA
    pairs = pairs.merge(statistics, how="left", on=["leader", "follower"])
    agreed = agreement(views.share_by_view_NM | size_by_name_NM)
    agreed = agreed.rename(columns={"first": "first_view", "second": "second_view"})
    pairs, agreed = (table.assign(day=pd.Timestamp(day).as_unit("us"), model_id=model.model_id) for table in (pairs, agreed))
    return Evidence(pairs[list(EVIDENCE_COLUMNS)], agreed[list(AGREEMENT_COLUMNS)])


def sampled_rows(bars: int, lookback: int, season: int) -> tuple[NDArray[np.int64], int]:
    """Rows spread evenly over the newest seasons (``Grid.season_bars``), through all hours of the day, and how many seasons back
    another history lies.

    No row is left where the panel is shorter than the lookback; 0 seasons where nothing lies one behind the sampled rows.

    >>> rows, back = sampled_rows(24 * 90, 168, 168)
    >>> (len(rows), int(rows[0]), int(rows[-1]), back)
    (24, 1488, 2159, 4)
    """
    first = max(bars - _SEASONS * season, lookback - 1)
    if first >= bars:
        return np.zeros(0, dtype=np.int64), 0
    rows = np.unique(np.linspace(first, bars - 1, _SAMPLED_ROWS).round().astype(np.int64))
    # An occluded row's whole lookback must lie behind the shift, or part of it would be its own history still.
    return rows, min(_SEASONS, max(0, first - lookback + 1) // season)


def _statistics(
    panel: Panel, settings: AnalysisSettings, groups: Sequence[LeaderGroup]
) -> tuple[pd.DataFrame, dict[str, NDArray[np.float64]]]:
    """Classical columns by pair, and (N, M) sizes by name for the comparison of orders."""
    lagged, first_lag_NN = lead_lag_of(panel, settings, groups), first_clean_lags(panel)
    tested = granger(lagged.return_TN, panel.asset_ids, lags=settings.max_lag, first_lag_NN=first_lag_NN)
    tested = tested.rename(columns={"f": "granger_f", "q_value": "granger_q"})
    price_TN = scaled_prices(panel)[-len(lagged.return_TN) :]
    shifted = hayashi_yoshida(price_TN, panel.asset_ids, max_lag=settings.max_lag, first_lag_NN=first_lag_NN).rename(
        columns={"lag": "hy_lag", "correlation": "hy_correlation", "lead_ratio": "hy_ratio", "q_value": "hy_q"}
    )
    keys = ["leader", "follower"]
    merged = lagged.asset_pairs.rename(columns={"lag": "correlation_lag", "q_value": "correlation_q"})
    merged = merged[[*keys, "correlation", "correlation_lag", "correlation_q", "z"]]
    merged = merged.merge(tested[[*keys, "granger_f", "granger_q"]], how="outer", on=keys)
    merged = merged.merge(shifted[[*keys, "hy_correlation", "hy_lag", "hy_ratio", "hy_q"]], how="outer", on=keys)
    place = {asset_id: n for n, asset_id in enumerate(panel.asset_ids)}
    n_P, m_P = merged["follower"].map(place).to_numpy(dtype=int), merged["leader"].map(place).to_numpy(dtype=int)
    sizes: dict[str, NDArray[np.float64]] = {}
    for name, column in (("correlation", "z"), ("granger_f", "granger_f"), ("hy_ratio", "hy_ratio")):
        sizes[name] = np.full((len(place), len(place)), np.nan)
        sizes[name][n_P, m_P] = merged[column].abs().to_numpy(dtype=float)
    whole = {name: "Int32" for name in ("correlation_lag", "hy_lag")}
    single = {name: "float32" for name in merged.columns if name not in (*keys, "z", *whole)}
    return merged.drop(columns="z").astype(single | whole), sizes
