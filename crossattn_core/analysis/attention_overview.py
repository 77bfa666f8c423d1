"""What there is to tell about attention as of a day, gathered from what is stored: for the pictures, the page and the terminal.

Axes: D days, T bars of the window, N targets, M sources, L lags.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.lead_lag import SHAPES, first_clean_lags, lead_lag
from crossattn_core.analysis.regime_correlation import RegimeCorrelation, correlation_by_regime
from crossattn_core.analysis.snapshot_checks import attention_changes
from crossattn_core.analysis.snapshot_store import edge_matrices
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.regimes.market_days import BARS_A_DAY, fresh_returns

__all__ = ["AttentionStory", "tell_attention"]


@dataclass(frozen=True)
class AttentionStory:
    """Attention, views, statistics and verdicts, as of the end of ``last``. Symbols stand in place of keys."""

    last: date
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    weight_NM: NDArray[np.float64]
    """Mean share of target n's attention on source m over the newest ``analysis.window_days`` days; rows sum to 1, or to 0."""
    profile_NML: NDArray[np.float64]
    """Mean weight by lag, from each snapshot's largest weights; what was too small to be stored counts as 0."""
    z_LNN: NDArray[np.float64]
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
    stress: tuple[RegimeCorrelation, ...]
    """Correlation by regime, calm first."""
    leaders: pd.DataFrame
    """``leaders.LEADER_COLUMNS``, symbols in place of keys."""
    evidence: pd.DataFrame
    """``evidence.EVIDENCE_COLUMNS``, symbols in place of keys; empty before the first model."""
    agreement: pd.DataFrame
    """``evidence.AGREEMENT_COLUMNS``."""

    @property
    def net_N(self) -> NDArray[np.float64]:
        """(N,) attention received less attention given, both beyond the fair share: what leadership orders by."""
        read_NM = self.weight_NM > 0
        fair_NM = np.where(
            read_NM, self.weight_NM.sum(axis=1, keepdims=True) / np.maximum(read_NM.sum(axis=1, keepdims=True), 1), 0
        )
        beyond_NM = np.maximum(self.weight_NM - fair_NM, 0)
        return beyond_NM.sum(axis=0) - beyond_NM.sum(axis=1)


def tell_attention(
    snapshots: pd.DataFrame,
    evidence: pd.DataFrame,
    agreement: pd.DataFrame,
    experiment: Experiment,
    panel: Panel,
    windows: pd.DataFrame,
    leaders: pd.DataFrame,
) -> AttentionStory | None:
    """Attention as of the end of the panel's last day; none before the first snapshot.

    Args:
        snapshots: every stored day's, up to the panel's last (``SNAPSHOT_COLUMNS``).
        evidence: of the newest model (``evidence.EVIDENCE_COLUMNS``), ``agreement`` likewise.
        windows: ``regime_windows`` of the panel.
        leaders: ``find_leaders`` as of the same day.
    """
    settings, ids = experiment.analysis, experiment.asset_ids
    last = (panel.as_of_T[-1] - np.timedelta64(1, "us")).astype("datetime64[D]").item()
    start = last - timedelta(days=settings.window_days - 1)
    if snapshots.empty:
        return None
    day_D, edge_DNM = edge_matrices(snapshots, ids)
    newest_D = day_D >= np.datetime64(start)
    weight_NM = edge_DNM[newest_D if newest_D.any() else slice(-1, None)].mean(axis=0)
    total_N1 = weight_NM.sum(axis=1, keepdims=True)
    received = snapshots[snapshots["quantity"] == "received"].pivot(index="day", columns="source", values="value")
    entropy = snapshots[snapshots["quantity"] == "entropy"].groupby("day")["value"].mean()
    return_TN = fresh_returns(panel)
    tested = lead_lag(
        return_TN[-settings.window_days * BARS_A_DAY :],
        ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        first_lag_NN=first_clean_lags(panel),
    )
    names = dict(zip(ids, experiment.symbols, strict=True))
    return AttentionStory(
        last=last,
        symbols=experiment.symbols,
        sectors=tuple(asset.sector for asset in experiment.assets),
        weight_NM=np.divide(weight_NM, total_N1, out=np.zeros_like(weight_NM), where=total_N1 > 0),
        profile_NML=_profile(snapshots, experiment, start),
        z_LNN=tested.z_KLNN[SHAPES.index("linear")],
        day_D=day_D,
        received_DM=received.reindex(index=pd.DatetimeIndex(day_D), columns=list(ids)).to_numpy(np.float64),
        entropy_D=entropy.reindex(pd.DatetimeIndex(day_D)).to_numpy(np.float64),
        moved_D=attention_changes(snapshots[snapshots["quantity"] == "edge"], ids)["since_previous"].to_numpy(np.float64),
        windows=windows,
        stress=correlation_by_regime(return_TN, panel.as_of_T, windows),
        leaders=_named(leaders, names),
        evidence=_named(evidence, names),
        agreement=agreement,
    )


def _profile(snapshots: pd.DataFrame, experiment: Experiment, first: date) -> NDArray[np.float64]:
    top = snapshots[(snapshots["quantity"] == "top") & (snapshots["day"] >= pd.Timestamp(first))]
    place = {asset_id: n for n, asset_id in enumerate(experiment.asset_ids)}
    profile_NML = np.zeros((len(place), len(place), experiment.model.max_lag))
    if len(top):
        where = (top["target"].map(place).to_numpy(int), top["source"].map(place).to_numpy(int), top["lag"].to_numpy(int) - 1)
        np.add.at(profile_NML, where, top["value"].to_numpy(np.float64))
        profile_NML /= top["day"].nunique()
    return profile_NML


def _named(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Symbols in place of keys; a table that has symbols already stays."""
    known = names | {symbol: symbol for symbol in names.values()}
    return frame.assign(leader=frame["leader"].map(known), follower=frame["follower"].map(known))
