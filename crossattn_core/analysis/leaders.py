"""Who leads whom: a name is given only when four things agree.

1. The pair's lagged correlation survives a permutation test with false-discovery control over all pairs; lags at which the
   two bars overlap in time are not tested.
2. It survives beside the follower's other leads: a link that a stronger lead explains is not named.
3. Out of sample, the model's next-bar forecast of the follower beats the same checkpoint with cross-attention cut out: the
   lower end of the bootstrap interval of the IC gain lies above ``minimum_ic_gain``.
4. The model's attention on the leader exceeds its fair share.

"Leads" means predictive lead: what the leader does forecasts part of what the follower does later. It is no evidence of
cause. Axes: T bars of the window, N assets.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from crossattn_core.analysis.forecast_quality import compare_ic
from crossattn_core.analysis.lead_lag import LeadLag, lead_lag_of
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.days import bounds
from crossattn_core.experiment import AnalysisSettings, BacktestSettings
from crossattn_core.panel.labels import Labels, next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.newey_west import least_squares
from crossattn_core.stats.returns import centred

__all__ = ["LEADER_COLUMNS", "Leads", "conditional_p_values", "find_leads", "gate", "name_leads", "why_no_lead"]

LEADER_COLUMNS = (
    "leader",
    "follower",
    "lag",
    "weight",
    "fair_multiple",
    "attention_lag",
    "correlation",
    "shape",
    "z",
    "pairs",
    "p_value",
    "q_value",
    "conditional_p",
    "ic_gain",
    "ic_gain_low",
    "ic_gain_high",
    "named",
    "why",
)
"""Grain: ordered pair; named pairs first, then by q-value. ``lag`` and ``attention_lag`` in hours; ``weight`` share of the
follower's attention on the leader, ``fair_multiple`` over the fair share; ``ic_gain`` of the follower's forecast over the same
model without cross-attention, with its interval; ``conditional_p`` beside the follower's other leads (NaN: not tested)."""

_CONDITIONAL_P = 0.001
"""A link must keep at least this p-value beside the follower's other leads."""


class Leads(NamedTuple):
    """Who leads whom as of a day."""

    tested: LeadLag
    """The permutation test of every pair."""
    table: pd.DataFrame
    """``LEADER_COLUMNS``: every ordered pair, with the reason for its verdict."""


def find_leads(
    panel: Panel, stored: StoredAttention, symbols: tuple[str, ...], settings: AnalysisSettings, bootstrap: BacktestSettings
) -> Leads:
    """Test and name the leads as of the end of ``stored.last``, over the newest ``analysis.window_days`` days up to it.

    Args:
        panel: rows after that day are not read.
        symbols: of the panel's assets, for the reasons.
        bootstrap: samples, confidence and seed of the interval of the IC gain.
    """
    known = panel.until(panel.row_of(np.datetime64(bounds(stored.last)[1], "us")) + 1)
    tested = lead_lag_of(known, settings)
    labels = next_bar_labels(known)
    return Leads(tested, name_leads(known, labels, tested, stored.window_edges, stored.next_bar, symbols, settings, bootstrap))


def name_leads(
    panel: Panel,
    labels: Labels,
    tested: LeadLag,
    edges: pd.DataFrame,
    next_bar: pd.DataFrame,
    symbols: tuple[str, ...],
    settings: AnalysisSettings,
    bootstrap: BacktestSettings,
) -> pd.DataFrame:
    """Compare tested pairs with the model's attention and its out-of-sample forecasts (``LEADER_COLUMNS``).

    Args:
        labels: ``next_bar_labels`` of the panel.
        edges: snapshots, quantity edge.
        next_bar: ``snapshot.NEXT_BAR_COLUMNS``.
    """
    pairs = tested.pairs.copy()
    pairs["conditional_p"] = conditional_p_values(tested.return_TN, panel.asset_ids, pairs, settings.false_discovery_rate)
    gains = _gains(next_bar, panel, labels, bootstrap)
    table = pairs.merge(_attention(edges), how="left", on=["leader", "follower"]).merge(gains, how="left", on="follower")
    return gate(table, dict(zip(panel.asset_ids, symbols, strict=True)), settings)


def gate(table: pd.DataFrame, symbol_by_id: dict[str, str], settings: AnalysisSettings) -> pd.DataFrame:
    """Name the pairs that pass, with the reason for each pair's verdict (``LEADER_COLUMNS``)."""
    significant = table[(table["q_value"] <= settings.false_discovery_rate) & (table["conditional_p"] <= _CONDITIONAL_P)]
    by_size = significant.sort_values("z", key=_sort_key, ascending=False).drop_duplicates("follower")
    strongest = dict(zip(by_size["follower"], by_size["leader"].map(symbol_by_id), strict=True))
    verdicts = [_verdict(row, settings, strongest) for row in table.to_dict("records")]
    table = table.assign(named=[named for named, _ in verdicts], why=[why for _, why in verdicts])
    table = table.sort_values(["named", "q_value", "z"], ascending=[False, True, False], key=_sort_key, ignore_index=True)
    return table[list(LEADER_COLUMNS)]


def why_no_lead(table: pd.DataFrame, false_discovery_rate: float) -> str:
    """One sentence: how many pairs each step of the gate left, and at which the last one fell; '' where a lead is named."""
    if table["named"].any():
        return ""
    pairs = len(table)
    if not pairs:
        return "No lead found: no pair of assets has enough common hours to be tested."
    survive = table[table["q_value"] <= false_discovery_rate]
    if survive.empty:
        smallest = float(table["q_value"].min())
        return (
            f"No lead found: of {pairs} ordered pairs none survives the permutation test at a false-discovery rate of "
            f"{false_discovery_rate:.0%} (smallest q {smallest:.3f})."
        )
    own = survive[survive["conditional_p"] <= _CONDITIONAL_P]
    if own["ic_gain"].isna().all():
        reason = "there are no out-of-sample forecasts to judge the model by"
    else:
        reason = "the model's out-of-sample forecasts do not rest on any of them, see the reason of each pair"
    return (
        f"No lead found: {len(survive)} of {pairs} ordered pairs survive the permutation test, {len(own)} of them beside the "
        f"follower's other leads, but {reason}."
    )


def conditional_p_values(
    return_TN: NDArray[np.float64], asset_ids: tuple[str, ...], tested: pd.DataFrame, false_discovery_rate: float
) -> NDArray[np.float64]:
    """p-value of each significant pair beside the follower's other significant leads; NaN for the others.

    Least squares of the follower's return on all its candidates, each at its own lag and shape, with White's
    heteroscedasticity-robust errors. Candidates that fall out are dropped, weakest first, and the rest tried again; one
    that fell out keeps the p-value at which it fell.
    """
    place = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    filled_TN, known_TN = centred(return_TN)
    p_K = np.full(len(tested), np.nan)
    candidates = tested[tested["q_value"] <= false_discovery_rate]
    for follower, rows in candidates.groupby("follower"):
        y_T, rows_T = filled_TN[:, place[str(follower)]], known_TN[:, place[str(follower)]]
        columns = {
            k: _regressor(filled_TN, known_TN, place[leader], lag, shape)
            for k, leader, lag, shape in zip(rows.index, rows["leader"], rows["lag"], rows["shape"], strict=True)
        }
        left = list(columns)
        while left:
            coefficient, error = least_squares(np.stack([columns[k][rows_T] for k in left], axis=1), y_T[rows_T])
            p_left = 2 * stats.norm.sf(np.abs(coefficient / np.maximum(error, 1e-150)))
            p_K[left] = p_left
            worst = int(np.argmax(p_left))
            if p_left[worst] <= _CONDITIONAL_P:
                break
            left.pop(worst)
    return p_K


def _verdict(row: dict[Any, Any], settings: AnalysisSettings, strongest: dict[str, str]) -> tuple[bool, str]:
    rate, minimum_gain = settings.false_discovery_rate, settings.minimum_ic_gain
    size = f"|z| {abs(row['z']):.1f} at {row['lag']} h"
    if not row["q_value"] <= rate:
        return False, f"no lead in returns: q {row['q_value']:.3f} over {rate:g} ({size})"
    if not row["conditional_p"] <= _CONDITIONAL_P:
        other = strongest.get(row["follower"], "other leads")
        return False, f"explained by {other}: p {row['conditional_p']:.3f} beside the follower's other leads ({size} alone)"
    seen = f"{size}, q {row['q_value']:.4f}"
    if np.isnan(row["ic_gain"]):
        return False, f"{seen}; no out-of-sample forecasts to judge the model by"
    interval = f"[{row['ic_gain_low']:+.3f}, {row['ic_gain_high']:+.3f}]"
    gain = f"IC {row['ic_gain']:+.3f} {interval} over the same model without cross-attention"
    if not row["ic_gain_low"] > minimum_gain:
        return False, f"{seen}, but {gain}: not above {minimum_gain:g}"
    if not row["fair_multiple"] > 1:
        return False, f"{seen}; {gain}; attention gives the leader {row['fair_multiple']:.2f} of its fair share"
    return True, f"{seen}; {gain}; attention {row['fair_multiple']:.1f} times its fair share"


def _attention(edges: pd.DataFrame) -> pd.DataFrame:
    """Mean attention by pair over the days: leader, follower, weight, fair_multiple, attention_lag."""
    columns = ["leader", "follower", "weight", "fair_multiple", "attention_lag"]
    if edges.empty:
        return pd.DataFrame(columns=columns).astype({"weight": float, "fair_multiple": float, "attention_lag": float})
    pairs = edges.assign(leader=edges["source"], follower=edges["target"])
    mean = pairs.groupby(["leader", "follower"], as_index=False).agg(weight=("value", "mean"))
    total, sources = (mean[mean["weight"] > 0].groupby("follower")["weight"].agg(how) for how in ("sum", "count"))
    mean["fair_multiple"] = mean["weight"] / mean["follower"].map(total / sources)
    by_lag = pairs.groupby(["leader", "follower", "lag"], as_index=False).agg(total=("value", "sum"))
    strongest = by_lag.sort_values("total", ascending=False, kind="stable").drop_duplicates(["leader", "follower"])
    strongest = strongest.assign(attention_lag=strongest["lag"])[["leader", "follower", "attention_lag"]]
    return mean.merge(strongest, on=["leader", "follower"])[columns]


def _gains(next_bar: pd.DataFrame, panel: Panel, labels: Labels, bootstrap: BacktestSettings) -> pd.DataFrame:
    """IC gain by follower: follower, ic_gain, ic_gain_low, ic_gain_high."""
    columns = ["follower", "ic_gain", "ic_gain_low", "ic_gain_high"]
    if next_bar.empty:
        return pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[1:], float))
    outcome_TN = labels.value_TNH[:, :, 0]
    row_K = np.searchsorted(panel.as_of_T, next_bar["as_of"].to_numpy())
    asset_K = next_bar["asset_id"].map({asset_id: n for n, asset_id in enumerate(panel.asset_ids)}).to_numpy()
    full_TN, alone_TN = (np.full(outcome_TN.shape, np.nan) for _ in range(2))
    full_TN[row_K, asset_K], alone_TN[row_K, asset_K] = next_bar["forecast"].to_numpy(), next_bar["alone"].to_numpy()
    rows = [
        (asset_id, *compare_ic(full_TN[:, [n]], alone_TN[:, [n]], outcome_TN[:, [n]], bootstrap))
        for n, asset_id in enumerate(panel.asset_ids)
    ]
    return pd.DataFrame(rows, columns=columns)


def _regressor(
    filled_TN: NDArray[np.float64], known_TN: NDArray[np.bool_], leader: int, lag: int, shape: str
) -> NDArray[np.float64]:
    value_T = filled_TN[:, leader]
    if shape == "squared":
        known_T = known_TN[:, leader]
        square_T = np.minimum(value_T**2, np.quantile(value_T[known_T] ** 2, 0.99))
        value_T = np.where(known_T, square_T - square_T[known_T].mean(), 0.0)
    return np.concatenate([np.zeros(lag), value_T[:-lag]])


def _sort_key(column: pd.Series) -> pd.Series:
    return column.abs() if column.name == "z" else column
