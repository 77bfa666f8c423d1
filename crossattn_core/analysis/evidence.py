"""Evidence on every ordered pair, side by side: three views of one model, and three classical statistics.

    attention/evidence/<day>.parquet    one row an ordered pair
    attention/agreement/<day>.parquet   one row a pair of views or statistics

Taken on the first day on which a model is in force: what a model rests on changes when the model does, not by the day. Views
look at rows spread over the weeks up to that day's end, so most were training rows: they say what the model uses, never
whether it is right. Statistics look at the newest ``analysis.window_days`` days. Nothing after the day is read, and none
of it speaks of cause.

Axes: T bars, R sampled rows, N followers (targets), M leaders (sources), L lags.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.analysis.attribution import agreement, attention_view, gradient_view, occlusion_view, shares
from crossattn_core.analysis.classical import granger, hayashi_yoshida
from crossattn_core.analysis.lead_lag import first_clean_lags, lead_lag
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import BARS_A_DAY, fresh_returns
from crossattn_core.storage import write_parquet

__all__ = [
    "AGREEMENT_COLUMNS",
    "EVIDENCE_COLUMNS",
    "STATISTICS",
    "Evidence",
    "read_agreement",
    "read_evidence",
    "sampled_rows",
    "take_evidence",
    "write_evidence",
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
"""Grain: (day, leader, follower). Views are shares over a follower's leaders; lags in hours; NaN where a view or statistic has
nothing to say (too few common hours, a model without a network)."""

AGREEMENT_COLUMNS = ("day", "model_id", "first_view", "second_view", "rank_correlation", "within_target")
"""Grain: (day, first_view, second_view). Spearman over all ordered pairs, and within followers on average."""

STATISTICS = ("correlation", "granger_f", "hy_ratio")
"""The classical statistics whose order over pairs is compared with the views' (correlation by the size of its z)."""

_WEEK = 7 * BARS_A_DAY
_WEEKS_BACK = 4
_SAMPLED_DAYS = 28
_SAMPLED_ROWS = 24


@dataclass(frozen=True)
class Evidence:
    """What was taken on one day."""

    pairs: pd.DataFrame
    """``EVIDENCE_COLUMNS``."""
    agreement: pd.DataFrame
    """``AGREEMENT_COLUMNS``."""


def take_evidence(model: FittedModel, panel: Panel, day: date, experiment: Experiment) -> Evidence | None:
    """Views and statistics as of the panel's last row; none for a model without attention or with too little history."""
    rows, weeks = sampled_rows(len(panel.as_of_T), experiment.model.lookback)
    if not len(rows):
        return None
    attention_NML = attention_view(model, panel, rows)
    if attention_NML is None:
        return None
    nowhere_NM = np.full(attention_NML.shape[:2], np.nan)
    gradient_NML = gradient_view(model, panel, rows) if isinstance(model, FittedNetwork) else nowhere_NM[:, :, None]
    occlusion_NM = occlusion_view(model, panel, rows, weeks=(weeks,)) if weeks else nowhere_NM
    views = {
        "attention": shares(attention_NML.sum(axis=2)),
        "gradient": shares(gradient_NML.sum(axis=2)),
        "occlusion": shares(occlusion_NM),
    }
    statistics, size_by_name_NM = _statistics(panel, experiment)
    n_P, m_P = np.nonzero(~np.eye(len(panel.asset_ids), dtype=bool))
    names = np.array(panel.asset_ids)
    pairs = pd.DataFrame({"leader": names[m_P], "follower": names[n_P]})
    for view, share_NM in views.items():
        pairs[view] = share_NM[n_P, m_P].astype(np.float32)
    for view, value_NML in (("attention_lag", attention_NML), ("gradient_lag", gradient_NML)):
        known_P = np.isfinite(value_NML[n_P, m_P]).all(axis=1) & (value_NML[n_P, m_P].sum(axis=1) > 0)
        pairs[view] = pd.array(np.where(known_P, value_NML[n_P, m_P].argmax(axis=1) + 1, -1), dtype="Int32")
        pairs.loc[~known_P, view] = pd.NA
    pairs = pairs.merge(statistics, how="left", on=["leader", "follower"]).assign(
        day=pd.Timestamp(day).as_unit("us"), model_id=model.model_id
    )
    agreed = agreement(views | size_by_name_NM).rename(columns={"first": "first_view", "second": "second_view"})
    agreed = agreed.assign(day=pd.Timestamp(day).as_unit("us"), model_id=model.model_id)
    return Evidence(pairs[list(EVIDENCE_COLUMNS)], agreed[list(AGREEMENT_COLUMNS)])


def sampled_rows(bars: int, lookback: int) -> tuple[NDArray[np.int64], int]:
    """Rows spread evenly over the newest weeks, through all hours of the day, and how many weeks back another history lies.

    No row is left where the panel is shorter than the lookback; 0 weeks where nothing lies a week behind the sampled rows.

    >>> rows, weeks = sampled_rows(24 * 90, 168)
    >>> (len(rows), int(rows[0]), int(rows[-1]), weeks)
    (24, 1488, 2159, 4)
    """
    first = max(bars - _SAMPLED_DAYS * BARS_A_DAY, lookback - 1)
    if first >= bars:
        return np.zeros(0, dtype=np.int64), 0
    rows = np.unique(np.linspace(first, bars - 1, _SAMPLED_ROWS).round().astype(np.int64))
    # An occluded row's whole lookback must lie behind the shift, or part of it would be its own history still.
    return rows, min(_WEEKS_BACK, max(0, first - lookback + 1) // _WEEK)


def write_evidence(home: Home, day: date, evidence: Evidence) -> None:
    """Store both tables of ``day``."""
    for name, frame in (("agreement", evidence.agreement), ("evidence", evidence.pairs)):
        write_parquet(_path(home, name, day), pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


def read_evidence(home: Home, last: date) -> pd.DataFrame:
    """The newest evidence up to ``last`` (``EVIDENCE_COLUMNS``); empty where there is none."""
    return _newest(home, "evidence", last, EVIDENCE_COLUMNS)


def read_agreement(home: Home, last: date) -> pd.DataFrame:
    """The newest agreement up to ``last`` (``AGREEMENT_COLUMNS``); empty where there is none."""
    return _newest(home, "agreement", last, AGREEMENT_COLUMNS)


def _statistics(panel: Panel, experiment: Experiment) -> tuple[pd.DataFrame, dict[str, NDArray[np.float64]]]:
    """Classical columns by pair, and (N, M) sizes by name for the comparison of orders."""
    settings = experiment.analysis
    start = max(len(panel.as_of_T) - settings.window_days * BARS_A_DAY, 0)
    return_TN, first_lag_NN = fresh_returns(panel)[start:], first_clean_lags(panel)
    lagged = lead_lag(
        return_TN,
        panel.asset_ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        first_lag_NN=first_lag_NN,
    ).pairs.rename(columns={"lag": "correlation_lag", "q_value": "correlation_q"})
    tested = granger(return_TN, panel.asset_ids, lags=settings.max_lag, first_lag_NN=first_lag_NN)
    tested = tested.rename(columns={"f": "granger_f", "q_value": "granger_q"})
    price_TN = np.asarray(panel.trade_price_TN[start:])
    shifted = hayashi_yoshida(price_TN, panel.asset_ids, max_lag=settings.max_lag, first_lag_NN=first_lag_NN).rename(
        columns={"lag": "hy_lag", "correlation": "hy_correlation", "lead_ratio": "hy_ratio", "q_value": "hy_q"}
    )
    keys = ["leader", "follower"]
    merged = lagged[[*keys, "correlation", "correlation_lag", "correlation_q", "z"]]
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


def _path(home: Home, name: str, day: date) -> Path:
    return home.attention / name / f"{day}.parquet"


def _newest(home: Home, name: str, last: date, columns: tuple[str, ...]) -> pd.DataFrame:
    stored = [path for path in (home.attention / name).glob("????-??-??.parquet") if path.stem <= str(last)]
    if not stored:
        return pd.DataFrame(columns=list(columns))
    return pq.ParquetFile(max(stored)).read().to_pandas()
