"""What there is to tell about attention as of a day, gathered from what is stored: for the pictures, the page and the terminal.

Axes: D days, T bars of the window, N targets, M sources, L lags.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.evidence import read_agreement, read_evidence
from crossattn_core.analysis.lead_lag import SHAPES, first_clean_lags, lead_lag
from crossattn_core.analysis.leaders import find_leaders
from crossattn_core.analysis.regime_correlation import RegimeCorrelation, correlation_by_regime
from crossattn_core.analysis.snapshot_checks import attention_changes
from crossattn_core.analysis.snapshot_store import edge_matrices, read_snapshots
from crossattn_core.days import bounds
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
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
    home: Home, experiment: Experiment, panel: Panel, last: date, windows: pd.DataFrame, *, leaders: pd.DataFrame | None = None
) -> AttentionStory | None:
    """Gather the story; none before the first snapshot.

    Args:
        windows: ``regime_windows`` found on days up to ``last``.
        leaders: ``find_leaders`` as of ``last`` where it was asked for already.
    """
    settings, ids = experiment.analysis, experiment.asset_ids
    start = last - timedelta(days=settings.window_days - 1)
    snapshots = read_snapshots(home, panel.as_of_T[0].astype("datetime64[D]").item(), last, ("edge", "entropy", "received"))
    if snapshots.empty:
        return None
    day_D, edge_DNM = edge_matrices(snapshots, ids)
    newest_D = day_D >= np.datetime64(start)
    weight_NM = edge_DNM[newest_D if newest_D.any() else slice(-1, None)].mean(axis=0)
    total_N1 = weight_NM.sum(axis=1, keepdims=True)
    received = snapshots[snapshots["quantity"] == "received"].pivot(index="day", columns="source", values="value")
    entropy = snapshots[snapshots["quantity"] == "entropy"].groupby("day")["value"].mean()
    known = panel.until(panel.row_of(np.datetime64(bounds(last)[1], "us")) + 1)
    return_TN = fresh_returns(known)
    tested = lead_lag(
        return_TN[-settings.window_days * BARS_A_DAY :],
        ids,
        max_lag=settings.max_lag,
        permutations=settings.permutations,
        first_lag_NN=first_clean_lags(known),
    )
    names = dict(zip(ids, experiment.symbols, strict=True))
    leaders = find_leaders(home, experiment, panel, last) if leaders is None else leaders
    return AttentionStory(
        last=last,
        symbols=experiment.symbols,
        sectors=tuple(asset.sector for asset in experiment.assets),
        weight_NM=np.divide(weight_NM, total_N1, out=np.zeros_like(weight_NM), where=total_N1 > 0),
        profile_NML=_profile(home, experiment, start, last),
        z_LNN=tested.z_KLNN[SHAPES.index("linear")],
        day_D=day_D,
        received_DM=received.reindex(index=pd.DatetimeIndex(day_D), columns=list(ids)).to_numpy(np.float64),
        entropy_D=entropy.reindex(pd.DatetimeIndex(day_D)).to_numpy(np.float64),
        moved_D=attention_changes(snapshots[snapshots["quantity"] == "edge"], ids)["since_previous"].to_numpy(np.float64),
        windows=windows,
        stress=correlation_by_regime(return_TN, known.as_of_T, windows),
        leaders=_named(leaders, names),
        evidence=_named(read_evidence(home, last), names),
        agreement=read_agreement(home, last),
    )


def _profile(home: Home, experiment: Experiment, first: date, last: date) -> NDArray[np.float64]:
    top = read_snapshots(home, first, last, ("top",))
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
