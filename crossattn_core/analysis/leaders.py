"""Who leads whom: a name is given only when four things agree.

1. The leader's lagged correlation with the follower survives a permutation test with false-discovery control over all leaders and
   followers, with and without the follower's own lags (``lead_lag``); lags at which two bars overlap in time are not tested.
   Groups are leaders of their own: the market, its parts and each sector, without the follower.
2. It survives beside the follower's other leads (``lead_selection``): a link that a stronger lead explains is not named, and
   an asset that cannot be told apart from a group that leads gives way to the group.
3. Out of sample, the model's next-bar forecast of the follower knows something beside that of the same checkpoint with
   cross-attention cut out: the lower end of the bootstrap interval of the IC gain lies above ``minimum_ic_gain``
   (``forecast_quality.ic_beside``). Returns are in units of the volatility known before them here as well.
4. The model's attention on the leader, or on a group's members together, exceeds its fair share. All attention lies on the
   market: it passes. Where returns single out members of a group that attention spreads over, the group is named.

Each named lead comes with what survives of it at prices that could be traded at and what it pays beside its costs
(``lead_worth``). "Leads" means predictive lead: what the leader does forecasts part of what the follower does later. It is no
evidence of cause. Axes: T bars of the window, N assets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.forecast_quality import ic_beside
from crossattn_core.analysis.lead_gate import gate
from crossattn_core.analysis.lead_lag import LeadLag, lead_lag_of
from crossattn_core.analysis.lead_selection import MAX_CONDITIONAL_P, select_leads
from crossattn_core.analysis.lead_worth import follower_prices, lead_worth
from crossattn_core.analysis.leader_groups import leader_groups
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.analysis.stored_edges import WindowEdges
from crossattn_core.days import bounds
from crossattn_core.experiment import AnalysisSettings, BacktestSettings
from crossattn_core.panel.labels import Labels, next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import fresh_returns
from crossattn_core.stats.scaled_returns import MAX_DEVIATIONS, trailing_deviation
from crossattn_core.universe import Asset, asset_names

__all__ = ["Leads", "Trading", "find_leads", "in_symbols", "name_leads", "why_no_lead"]

_IC_BLOCK_BARS = 168
"""Bars of a block in the bootstrap of the IC gain: seven times the default longest lag."""


class Leads(NamedTuple):
    """Who leads whom as of a day."""

    tested: LeadLag
    """The permutation test of every pair."""
    table: pd.DataFrame
    """``LEADER_COLUMNS``: every leader and follower, with the reason for the verdict."""


@dataclass(frozen=True)
class Trading:
    """What a lead could be traded at; without it the gate still names leads, and what they are worth stays unknown."""

    open_TN: NDArray[np.float64] | None = None
    """(T, N) first trade of each of the panel's bars; see ``panel.opens``."""
    cost_bps_N: NDArray[np.float64] | None = None
    """(N,) cost of trading one unit of notional, one way."""


def find_leads(
    panel: Panel,
    stored: StoredAttention,
    assets: Sequence[Asset],
    settings: AnalysisSettings,
    bootstrap: BacktestSettings,
    trading: Trading | None = None,
) -> Leads:
    """Test and name the leads as of the end of ``stored.last``, over the newest ``analysis.window_days`` days up to it.

    Args:
        panel: rows after that day are not read.
        assets: of the panel, in its order.
        bootstrap: samples, confidence and seed of the interval of the IC gain.
    """
    known = panel.until(panel.row_of(np.datetime64(bounds(stored.last)[1], "us")) + 1)
    tested = lead_lag_of(known, settings, leader_groups(assets))
    labels = next_bar_labels(known)
    table = name_leads(known, labels, tested, stored.edges, stored.next_bar, assets, settings, bootstrap, trading)
    return Leads(tested, table)


def name_leads(
    panel: Panel,
    labels: Labels,
    tested: LeadLag,
    edges: WindowEdges,
    next_bar: pd.DataFrame,
    assets: Sequence[Asset],
    settings: AnalysisSettings,
    bootstrap: BacktestSettings,
    trading: Trading | None = None,
) -> pd.DataFrame:
    """Compare tested leaders with the model's attention and its out-of-sample forecasts (``LEADER_COLUMNS``).

    Args:
        labels: ``next_bar_labels`` of the panel.
        edges: of the window's snapshots.
        next_bar: ``snapshot.NEXT_BAR_COLUMNS``.
        trading: arrays of at least the panel's rows; later ones are not read.
    """
    symbols = asset_names(assets)
    pairs = select_leads(tested, panel.asset_ids, symbols, settings.false_discovery_rate)
    pairs["members"] = [tuple(panel.asset_ids[n] for n in members) for members in pairs["members"]]
    gains = _gains(next_bar, panel, labels, bootstrap)
    table = pd.concat([pairs, _attention(edges, pairs)], axis=1).merge(gains, how="left", on="follower")
    table = gate(table, dict(zip(panel.asset_ids, symbols, strict=True)), settings, panel.grid)
    return _with_worth(table, panel, tested, trading or Trading(), bootstrap)


def in_symbols(pairs: pd.DataFrame, symbol_by_id: dict[str, str]) -> pd.DataFrame:
    """Leaders, their members and followers by symbol in place of ids; names of groups stay."""
    shown = {name: pairs[name].map(lambda leader: symbol_by_id.get(str(leader), str(leader))) for name in ("leader", "follower")}
    if "members" in pairs:
        shown["members"] = pairs["members"].map(lambda members: tuple(symbol_by_id[member] for member in members))
    return pairs.assign(**shown)


def why_no_lead(table: pd.DataFrame, false_discovery_rate: float) -> str:
    """One sentence: how many pairs each step of the gate left, and at which the last one fell; '' where a lead is named."""
    if table["named"].any():
        return ""
    pairs = len(table)
    if not pairs:
        return "No lead found: no pair of assets has enough common bars to be tested."
    survive = table[table["q_value"] <= false_discovery_rate]
    if survive.empty:
        smallest = float(table["q_value"].min())
        return (
            f"No lead found: of {pairs} ordered pairs none survives the permutation test at a false-discovery rate of "
            f"{false_discovery_rate:.0%} (smallest q {smallest:.3f})."
        )
    own = survive[survive["conditional_p"] <= MAX_CONDITIONAL_P]
    if own["ic_gain"].isna().all():
        reason = "there are no out-of-sample forecasts to judge the model by"
    else:
        reason = "the model's out-of-sample forecasts do not rest on any of them, see the reason of each pair"
    return (
        f"No lead found: {len(survive)} of {pairs} ordered pairs survive the permutation test, {len(own)} of them "
        f"beside the follower's other leads, but {reason}."
    )


def _attention(edges: WindowEdges, pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean attention by row of ``pairs`` over the days: weight, fair_multiple, attention_lag, holds_all.

    A group's is its members' sum; ``holds_all``: they are all that the follower reads.
    """
    place = {asset_id: n for n, asset_id in enumerate(edges.asset_ids)}
    weight_NM = edges.mean_NM
    read_NM = weight_NM > 0
    fair_N = weight_NM.sum(axis=1) / np.maximum(read_NM.sum(axis=1), 1)
    n_P = np.array([place[follower] for follower in pairs["follower"]], dtype=np.int64)
    m_P = np.array([place[members[0]] for members in pairs["members"]], dtype=np.int64)
    weight_P = np.where(read_NM, weight_NM, np.nan)[n_P, m_P]
    with np.errstate(invalid="ignore", divide="ignore"):
        over_P = weight_P / fair_N[n_P]
    lag_P, whole_P = _strongest_lags(edges)[n_P, m_P], np.zeros(len(pairs), dtype=bool)
    target_X, source_X, lag_X = edges.by_lag.places
    for p in np.flatnonzero(pairs["members"].map(len) > 1):
        n, m_K = n_P[p], np.array([place[member] for member in pairs["members"].iloc[p]])
        read_K, of_group_X = m_K[read_NM[n, m_K]], (target_X == n) & np.isin(source_X, m_K)
        weight_P[p] = weight_NM[n, read_K].sum() if len(read_K) else np.nan
        over_P[p] = weight_P[p] / (fair_N[n] * len(read_K)) if len(read_K) else np.nan
        lag_K, at_X = np.unique(lag_X[of_group_X], return_inverse=True)
        lag_P[p] = lag_K[np.bincount(at_X, edges.by_lag.total_P[of_group_X]).argmax()] if len(lag_K) else np.nan
        whole_P[p] = edges.days > 0 and len(read_K) == read_NM[n].sum()
    columns = {"weight": weight_P, "fair_multiple": over_P, "attention_lag": lag_P, "holds_all": whole_P}
    return pd.DataFrame(columns, index=pairs.index)


def _strongest_lags(edges: WindowEdges) -> NDArray[np.float64]:
    """(N, M) of the lags that a pair's strongest weight had, the one with most of it, the shorter of two alike; NaN for none."""
    n_P, m_P, lag_P = edges.by_lag.places
    last_first_P = np.lexsort((-lag_P, edges.by_lag.total_P))
    strongest_NM = np.full((len(edges.asset_ids),) * 2, np.nan)
    # The last one that is written stays.
    strongest_NM[n_P[last_first_P], m_P[last_first_P]] = lag_P[last_first_P]
    return strongest_NM


def _gains(next_bar: pd.DataFrame, panel: Panel, labels: Labels, bootstrap: BacktestSettings) -> pd.DataFrame:
    """IC gain by follower: follower, ic_gain, ic_gain_low, ic_gain_high; all returns in units of the volatility known before."""
    columns = ["follower", "ic_gain", "ic_gain_low", "ic_gain_high"]
    if next_bar.empty:
        return pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[1:], float))
    deviation_TN = trailing_deviation(fresh_returns(panel))
    deviation_TN[~(deviation_TN > 0)] = np.nan
    outcome_TN = np.clip(labels.value_TNH[:, :, 0] / deviation_TN, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    row_K = np.searchsorted(panel.as_of_T, next_bar["as_of"].to_numpy())
    asset_K = next_bar["asset_id"].map({asset_id: n for n, asset_id in enumerate(panel.asset_ids)}).to_numpy()
    full_TN, alone_TN = (np.full(outcome_TN.shape, np.nan) for _ in range(2))
    full_TN[row_K, asset_K], alone_TN[row_K, asset_K] = next_bar["forecast"].to_numpy(), next_bar["alone"].to_numpy()
    full_TN, alone_TN = full_TN / deviation_TN, alone_TN / deviation_TN
    rows = [
        (asset_id, *ic_beside(full_TN[:, [n]], alone_TN[:, [n]], outcome_TN[:, [n]], bootstrap, block_bars=_IC_BLOCK_BARS))
        for n, asset_id in enumerate(panel.asset_ids)
    ]
    return pd.DataFrame(rows, columns=columns)


def _with_worth(
    table: pd.DataFrame, panel: Panel, tested: LeadLag, trading: Trading, bootstrap: BacktestSettings
) -> pd.DataFrame:
    """``table`` with what each named lead is worth, and the verdict on trading it in its reason."""
    place = {asset_id: n for n, asset_id in enumerate(panel.asset_ids)}
    bars, rows = len(panel.as_of_T), slice(-len(tested.return_TN), None)
    open_TN = None if trading.open_TN is None else trading.open_TN[:bars]
    prices = follower_prices(fresh_returns(panel), np.asarray(panel.trade_price_TN), open_TN, rows)
    table = table.copy()
    for k, row in table[table["named"]].iterrows():
        n = place[str(row["follower"])]
        worth = lead_worth(
            tested.return_TN,
            prices,
            [place[member] for member in row["members"]],
            n,
            lag=int(row["lag"]),
            shape=str(row["shape"]),
            sign=float(np.sign(row["z"])),
            bars_per_day=panel.grid.bars_per_day,
            bootstrap=bootstrap,
        )
        cost_bps = float("nan") if trading.cost_bps_N is None else 2 * float(trading.cost_bps_N[n])
        known = np.isfinite(worth["strongest_low"]) and np.isfinite(cost_bps)
        tradable = bool(worth["strongest_low"] > cost_bps) if known else None
        table.loc[k, [*worth, "cost_bps"]] = [*worth.values(), cost_bps]
        table.at[k, "tradable"] = tradable
        table.at[k, "why"] = f"{row['why']}{_worth_in_words(worth, cost_bps, tradable)}"
    return table


def _worth_in_words(worth: dict[str, float], cost_bps: float, tradable: bool | None) -> str:
    if not (np.isfinite(worth["gross_bps"]) and np.isfinite(cost_bps)):
        return ""
    if tradable is None:
        return (
            f"; {worth['gross_bps']:.1f} bps a trade before costs, against {cost_bps:.0f} bps to go in and out: too few days "
            "to say whether it is tradable"
        )
    verdict = "proven, tradable" if tradable else "proven, not tradable"
    kept = (
        f"; {worth['next_trade_share']:.0%} of it is left from the next trade on"
        if np.isfinite(worth["next_trade_share"])
        else ""
    )
    return (
        f"; {verdict}: {worth['gross_bps']:.1f} bps a trade before costs, {worth['strongest_bps']:.1f} "
        f"[{worth['strongest_low']:.1f}, {worth['strongest_high']:.1f}] on the strongest tenth of its signals, against "
        f"{cost_bps:.0f} bps to go in and out{kept}"
    )
