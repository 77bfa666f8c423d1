"""Attention as of a day, with the evidence behind it: everything that the pictures, the page and the terminal show.

Axes: D days, T bars, N targets, M sources, L lags.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.leaders import Leads, in_symbols
from crossattn_core.analysis.pair_scores import SHAPES
from crossattn_core.analysis.regime_correlation import RegimeCorrelation, correlation_by_regime
from crossattn_core.analysis.snapshot import STORED_SOURCES, net_leadership
from crossattn_core.analysis.snapshot_store import StoredAttention
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
    """``lead_gate.LEADER_COLUMNS``, symbols in place of keys."""
    evidence: pd.DataFrame
    """``evidence.EVIDENCE_COLUMNS``, symbols in place of keys; empty before the first model."""
    agreement: pd.DataFrame
    """``evidence.AGREEMENT_COLUMNS``."""
    grid: Grid = HOURLY
    """What a bar of lead lasts."""
    stored_share: float = 1.0
    """Share of attention that the stored edges hold: under 1 where a target's strongest sources alone were stored."""

    @property
    def edges_in_words(self) -> str:
        """What of the edges was stored, '' where all of them were."""
        others = len(self.symbols) - 1
        if others <= STORED_SOURCES:
            return ""
        return (
            f"Edges: the strongest {STORED_SOURCES} of {others} sources of each target; they hold {self.stored_share:.0%} of the "
            "attention; the rest is shown spread evenly."
        )

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
    ids = panel.asset_ids
    if stored.newest_NM is None:
        return None
    weight_NM = stored.edges.mean_NM if stored.edges.days else stored.newest_NM
    total_N1 = weight_NM.sum(axis=1, keepdims=True)
    known = panel.until(panel.row_of(np.datetime64(bounds(stored.last)[1], "us")) + 1)
    symbol_by_id = dict(zip(ids, asset_names(assets), strict=True))
    return AttentionOverview(
        last=stored.last,
        symbols=asset_names(assets),
        sectors=tuple(asset.sector for asset in assets),
        weight_NM=np.divide(weight_NM, total_N1, out=np.zeros_like(weight_NM), where=total_N1 > 0),
        profile_NML=stored.top.dense(attention_lags) / max(stored.top_days, 1),
        leaders_tested=tuple(symbol_by_id.get(name, name) for name in leads.tested.leaders),
        z_LMN=leads.tested.z_KLMN[SHAPES.index("linear")],
        day_D=stored.day_D,
        received_DM=stored.received_DN,
        entropy_D=stored.entropy_D,
        moved_D=stored.moved_D,
        windows=windows,
        regime_correlations=correlation_by_regime(fresh_returns(known), known.as_of_T, windows),
        leaders=in_symbols(leads.table, symbol_by_id),
        evidence=in_symbols(stored.evidence, symbol_by_id),
        agreement=stored.agreement,
        grid=panel.grid,
        stored_share=stored.edges.stored_share,
    )
