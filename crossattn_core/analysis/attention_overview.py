"""Attention as of a day, with the evidence behind it: everything that the pictures, the page and the terminal show.

Axes: D days, T bars, N targets, M sources, L lags.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.lead_lag import SHAPES
from crossattn_core.analysis.leaders import Leads, in_symbols
from crossattn_core.analysis.regime_correlation import RegimeCorrelation, correlation_by_regime
from crossattn_core.analysis.snapshot import net_leadership
from crossattn_core.analysis.snapshot_checks import attention_changes
from crossattn_core.analysis.snapshot_store import StoredAttention, edge_matrices
from crossattn_core.days import bounds
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import fresh_returns
from crossattn_core.universe import Asset, asset_names

__all__ = ["AttentionOverview", "attention_overview"]


@dataclass(frozen=True)
class AttentionOverview:
    """Attention, views, statistics and verdicts, as of the end of ``last``. Symbols in place of keys."""

    last: date
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    weight_NM: NDArray[np.float64]
    """Mean share of target n's attention on source m over the newest ``analysis.window_days`` days; rows sum to 1, or to 0."""
    profile_NML: NDArray[np.float64]
    """Mean weight by lag, from each snapshot's largest weights; what was too small to be stored counts as 0."""
    leaders_tested: tuple[str, ...]
    """The leaders of ``z_LMN``: symbols, then groups."""
    z_LMN: NDArray[np.float64]
    """(L, leader, follower) signed z of the lagged correlation of returns, over the same days; NaN where not tested."""
    day_D: NDArray[np.datetime64]
    """Every snapshot's day."""
    received_DM: NDArray[np.float64]
    """Attention received over the fair share."""
    entropy_D: NDArray[np.float64]
    """Mean over heads, 1 is uniform."""
    moved_D: NDArray[np.float64]
    """Share of attention that moved since the snapshot before."""
    windows: pd.DataFrame
    """``regime_windows``."""
    regime_correlations: tuple[RegimeCorrelation, ...]
    """Correlation by regime, calm first."""
    leaders: pd.DataFrame
    """``leaders.LEADER_COLUMNS``, symbols in place of keys."""
    evidence: pd.DataFrame
    """``evidence.EVIDENCE_COLUMNS``, symbols in place of keys; empty before the first model."""
    agreement: pd.DataFrame
    """``evidence.AGREEMENT_COLUMNS``."""
    grid: Grid = HOURLY
    """What a bar of lead lasts."""

    @property
    def net_N(self) -> NDArray[np.float64]:
        """(N,) see ``snapshot.net_leadership``: what leadership orders by."""
        return net_leadership(self.weight_NM)


def attention_overview(
    stored: StoredAttention,
    leads: Leads,
    panel: Panel,
    windows: pd.DataFrame,
    assets: tuple[Asset, ...],
    *,
    attention_lags: int,
) -> AttentionOverview | None:
    """Everything there is as of the end of ``stored.last``; none before the first snapshot.

    Args:
        panel: rows after that day are not read.
        windows: ``regime_windows`` found on days up to it.
        assets: of the panel, in its order.
        attention_lags: L, lags that the model's attention reads.
    """
    snapshots, ids = stored.history, panel.asset_ids
    if snapshots.empty:
        return None
    day_D, edge_DNM = edge_matrices(snapshots, ids)
    newest_D = day_D >= np.datetime64(stored.window_start)
    weight_NM = edge_DNM[newest_D if newest_D.any() else slice(-1, None)].mean(axis=0)
    total_N1 = weight_NM.sum(axis=1, keepdims=True)
    received = snapshots[snapshots["quantity"] == "received"].pivot(index="day", columns="source", values="value")
    entropy = snapshots[snapshots["quantity"] == "entropy"].groupby("day")["value"].mean()
    known = panel.until(panel.row_of(np.datetime64(bounds(stored.last)[1], "us")) + 1)
    symbol_by_id = dict(zip(ids, asset_names(assets), strict=True))
    return AttentionOverview(
        last=stored.last,
        symbols=asset_names(assets),
        sectors=tuple(asset.sector for asset in assets),
        weight_NM=np.divide(weight_NM, total_N1, out=np.zeros_like(weight_NM), where=total_N1 > 0),
        profile_NML=_profile(stored.top, ids, attention_lags),
        leaders_tested=tuple(symbol_by_id.get(name, name) for name in leads.tested.leaders),
        z_LMN=leads.tested.z_KLMN[SHAPES.index("linear")],
        day_D=day_D,
        received_DM=received.reindex(index=pd.DatetimeIndex(day_D), columns=list(ids)).to_numpy(np.float64),
        entropy_D=entropy.reindex(pd.DatetimeIndex(day_D)).to_numpy(np.float64),
        moved_D=attention_changes(snapshots[snapshots["quantity"] == "edge"], ids)["since_previous"].to_numpy(np.float64),
        windows=windows,
        regime_correlations=correlation_by_regime(fresh_returns(known), known.as_of_T, windows),
        leaders=in_symbols(leads.table, symbol_by_id),
        evidence=in_symbols(stored.evidence, symbol_by_id),
        agreement=stored.agreement,
        grid=panel.grid,
    )


def _profile(top: pd.DataFrame, asset_ids: tuple[str, ...], lags: int) -> NDArray[np.float64]:
    place = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    profile_NML = np.zeros((len(place), len(place), lags))
    if len(top):
        where = (top["target"].map(place).to_numpy(int), top["source"].map(place).to_numpy(int), top["lag"].to_numpy(int) - 1)
        np.add.at(profile_NML, where, top["value"].to_numpy(np.float64))
        profile_NML /= top["day"].nunique()
    return profile_NML
