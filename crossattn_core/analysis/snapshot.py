"""One day's attention, summed up: edges, lags, entropy, who leads and who follows.

Weights are those that the forecast used (eval mode, before dropout), averaged over the day's rows. A target never reads
itself here: its own past has a path of its own, so what it rests on itself is a quantity apart (``own_share``) and no part
of the sum. ``alone`` is the same model's next-bar forecast with cross-attention cut out.

Axes: R rows of the day, H heads, N targets, M sources, L lags.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.attention_means import mean_attention, means_of
from crossattn_core.days import bounds
from crossattn_core.errors import HistoryError
from crossattn_core.families.fitted import AttentionWeights, FittedModel
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash

__all__ = [
    "NEXT_BAR_COLUMNS",
    "QUANTITIES",
    "SNAPSHOT_COLUMNS",
    "STORED_SOURCES",
    "Snapshot",
    "net_leadership",
    "next_bar_frame",
    "own_share",
    "snapshot_of_rows",
    "summarise",
    "take_snapshot",
]

SNAPSHOT_COLUMNS = ("day", "model_id", "quantity", "target", "source", "lag", "head", "value")
"""Grain: (day, quantity, target, source, lag, head). What a quantity does not have is '' or -1."""

NEXT_BAR_COLUMNS = ("as_of", "asset_id", "forecast", "alone", "model_id")
"""Grain: (as_of, asset_id). Log return of the next bar, close to close; never traded."""

QUANTITIES = {
    "edge": "target, source: share of the target's attention on the source, all lags; lag = the strongest, bars of lead",
    "left_out": "target: share of its attention on sources whose edges are not stored; only where edges are cut",
    "left_out_sources": "target: how many sources those are, of the ones that it read; only where edges are cut",
    "source_lag": "source, lag: share of attention on the source at that lag, mean over targets other than itself",
    "top": "target, source, lag: the largest single weights of each target",
    "entropy": "head: entropy over (source, lag) over its largest possible value, mean over targets; 1 is uniform",
    "received": "source: attention received from others over its fair share; 1 is what uniform attention gives",
    "leader": "source: attention received beyond the fair share, summed over the targets that give it",
    "follower": "target: attention given beyond the fair share, summed over sources; 0 is uniform, not constant by construction",
    "net": "asset: leader minus follower; sums to zero over assets",
    "self": "target: share of its next-bar forecast's size that its own past gives; the edges share out the rest alone",
}
"""Quantity -> its key columns and meaning."""

STORED_SOURCES = 64
"""Sources whose edges are stored of each target, the strongest; all of them up to 65 assets. All pairs of 300 assets would be
nine tenths of a home, and past a few dozen sources shares say what the model's prior says."""
_TOP = 32


@dataclass(frozen=True)
class Snapshot:
    """What one model read on one day."""

    day: date
    model_id: str
    asset_ids: tuple[str, ...]
    lead_bars_L: NDArray[np.int64]
    weight_NML: NDArray[np.float32]
    """(N, M, L) mean over rows and heads; a target's weights sum to one, or are all zero where it never read."""
    entropy_H: NDArray[np.float64]
    """(H,) share of the largest possible entropy; NaN where nothing was read."""
    own_share_N: NDArray[np.float64] | None = None
    """(N,) see ``own_share``; none where the model has no forecast without the others."""

    @property
    def content_hash(self) -> str:
        """Of the model and its weights."""
        return combined_hash(self.model_id, hashlib.sha256(np.ascontiguousarray(self.weight_NML).data).hexdigest())

    @property
    def edge_NM(self) -> NDArray[np.float64]:
        """(N, M) share of target n's attention on source m, all lags."""
        return self.weight_NML.sum(axis=2, dtype=np.float64)

    @property
    def source_lag_ML(self) -> NDArray[np.float64]:
        """(M, L) mean over the targets that read, other than the source itself."""
        reads_N = self.weight_NML.sum(axis=(1, 2)) > 0
        others_M = np.maximum(reads_N.sum() - reads_N, 1)
        return self.weight_NML.sum(axis=0, dtype=np.float64) / others_M[:, None]

    @property
    def received_M(self) -> NDArray[np.float64]:
        """(M,) attention received from others over the fair share."""
        return self.edge_NM.sum(axis=0) / np.maximum(_fair_NM(self.edge_NM).sum(axis=0), 1e-12)

    @property
    def leader_M(self) -> NDArray[np.float64]:
        """(M,) attention received beyond the fair share."""
        return _beyond_fair_NM(self.edge_NM).sum(axis=0)

    @property
    def follower_N(self) -> NDArray[np.float64]:
        """(N,) attention given beyond the fair share: how far a target's reading is from indifference."""
        return _beyond_fair_NM(self.edge_NM).sum(axis=1)

    @property
    def net_N(self) -> NDArray[np.float64]:
        """(N,) leader minus follower, see ``net_leadership``."""
        return net_leadership(self.edge_NM)

    @property
    def _stored_NM(self) -> NDArray[np.bool_]:
        """Pairs whose edges are stored: each target's strongest sources other than itself."""
        stored_NM = ~np.eye(len(self.asset_ids), dtype=bool)
        if len(stored_NM) > STORED_SOURCES + 1:
            strongest_NK = np.argsort(np.where(stored_NM, -self.edge_NM, np.inf), axis=1, kind="stable")[:, :STORED_SOURCES]
            stored_NM[:] = False
            np.put_along_axis(stored_NM, strongest_NK, True, axis=1)
        return stored_NM

    def to_frame(self) -> pd.DataFrame:
        """Tidy rows (``SNAPSHOT_COLUMNS``)."""
        names = np.array(self.asset_ids)
        assets, lags = len(names), len(self.lead_bars_L)
        edge_NM, stored_NM = self.edge_NM, self._stored_NM
        n_P, m_P = np.nonzero(stored_NM)
        strongest_NM = self.lead_bars_L[self.weight_NML.argmax(axis=2)] if lags else np.zeros((assets, assets), dtype=int)
        flat_NX = self.weight_NML.reshape(assets, -1)
        top_NK = np.argsort(-flat_NX, axis=1, kind="stable")[:, :_TOP]
        top_n, top_x = np.repeat(np.arange(assets), top_NK.shape[1]), top_NK.ravel()
        m_X, l_X = (axis.ravel() for axis in np.indices((assets, lags)))
        blocks = [
            _block("edge", edge_NM[n_P, m_P], names[n_P], names[m_P], strongest_NM[n_P, m_P]),
            _block("source_lag", self.source_lag_ML.ravel(), source=names[m_X], lag=self.lead_bars_L[l_X]),
            _block("top", flat_NX[top_n, top_x], names[top_n], names[top_x // lags], self.lead_bars_L[top_x % lags]),
            _block("entropy", self.entropy_H, head=np.arange(len(self.entropy_H))),
            _block("received", self.received_M, source=names),
            _block("leader", self.leader_M, source=names),
            _block("follower", self.follower_N, target=names),
            _block("net", self.net_N, source=names),
        ]
        if len(n_P) < assets * (assets - 1):
            left_NM = np.where(stored_NM, 0.0, edge_NM)
            blocks.append(_block("left_out", left_NM.sum(axis=1), target=names))
            blocks.append(_block("left_out_sources", (left_NM > 0).sum(axis=1).astype(np.float64), target=names))
        if self.own_share_N is not None:
            blocks.append(_block("self", self.own_share_N, target=names))
        tidy = pd.concat(blocks, ignore_index=True)
        unread = (tidy["quantity"] == "top") & ~(tidy["value"] > 0)
        unknown = (tidy["quantity"] == "self") & tidy["value"].isna()
        tidy = tidy[~unread & ~unknown].reset_index(drop=True)
        tidy.insert(0, "day", pd.Timestamp(self.day).as_unit("us"))
        tidy.insert(1, "model_id", self.model_id)
        return tidy[list(SNAPSHOT_COLUMNS)]


def take_snapshot(model: FittedModel, panel: Panel, day: date) -> tuple[Snapshot, pd.DataFrame] | None:
    """What ``model`` read at the rows of ``day``, and its next-bar forecasts there (``NEXT_BAR_COLUMNS``).

    Nothing after the day is read; none for a family without attention.

    Raises:
        HistoryError: the panel holds no row of the day.
    """
    start, end = bounds(day)
    rows = np.arange(panel.row_of(np.datetime64(start, "us")) + 1, panel.row_of(np.datetime64(end, "us")) + 1)
    if not len(rows):
        raise HistoryError(f"attention of {day}: the panel holds no row of that day; export it first")
    known = panel.until(int(rows[-1]) + 1)
    snapshot = snapshot_of_rows(model, known, rows, day)
    if snapshot is None:
        return None
    alone_RN = model.forecast_without_others(known, rows)
    forecast_RN = model.forecast_next_bar(known, rows)
    if alone_RN is not None:
        snapshot = replace(snapshot, own_share_N=own_share(forecast_RN, alone_RN))
    return snapshot, next_bar_frame(known, rows, forecast_RN, alone_RN, model.model_id)


def snapshot_of_rows(model: FittedModel, panel: Panel, rows: NDArray[np.int64], day: date) -> Snapshot | None:
    """Attention averaged over ``rows`` (``mean_attention``); none for a family without."""
    means = mean_attention(model, panel, rows, "next_bar")
    return None if means is None else Snapshot(day, model.model_id, *means)


def summarise(weights: AttentionWeights, day: date, model_id: str, *, output: str = "next_bar") -> Snapshot:
    """Average the attention of a day's rows over the heads that serve ``output``."""
    return Snapshot(day, model_id, *means_of(weights, output))


def own_share(forecast_RN: NDArray[np.floating], alone_RN: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) share on self: sum over rows of |own part| over |own part| + |the others' part| of a forecast.

    Args:
        forecast_RN: the forecast; NaN where the asset cannot be read.
        alone_RN: the same model's with cross-attention cut out: the own part.

    NaN for an asset without a forecast, or whose forecasts are all zero.

    >>> own_share(np.array([[0.3], [-0.1]]), np.array([[0.1], [0.0]])).round(6).tolist()
    [0.25]
    """
    known_RN = np.isfinite(forecast_RN) & np.isfinite(alone_RN)
    own_N = np.where(known_RN, np.abs(alone_RN), 0.0).sum(axis=0, dtype=np.float64)
    others_N = np.where(known_RN, np.abs(np.subtract(forecast_RN, alone_RN)), 0.0).sum(axis=0, dtype=np.float64)
    return np.divide(own_N, own_N + others_N, out=np.full(len(own_N), np.nan), where=own_N + others_N > 0)


def next_bar_frame(
    panel: Panel,
    rows: NDArray[np.integer],
    forecast_RN: NDArray[np.float32],
    alone_RN: NDArray[np.float32] | None,
    model_id: str,
) -> pd.DataFrame:
    """Tidy rows (``NEXT_BAR_COLUMNS``) of the forecasts that there are; ``alone`` is NaN for a family without attention."""
    row_K, asset_K = np.nonzero(np.isfinite(forecast_RN))
    return pd.DataFrame(
        {
            "as_of": panel.as_of_T[rows[row_K]],
            "asset_id": np.array(panel.asset_ids)[asset_K],
            "forecast": forecast_RN[row_K, asset_K],
            "alone": np.full(len(row_K), np.nan, np.float32) if alone_RN is None else alone_RN[row_K, asset_K],
            "model_id": model_id,
        }
    )


def net_leadership(edge_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) attention received less attention given, both beyond the fair share; sums to zero over assets."""
    beyond_NM = _beyond_fair_NM(edge_NM)
    return beyond_NM.sum(axis=0) - beyond_NM.sum(axis=1)


def _beyond_fair_NM(edge_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(edge_NM - _fair_NM(edge_NM), 0)


def _fair_NM(edge_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each source would get if every target that reads spread its attention evenly over the sources that are read."""
    read_NM = edge_NM > 0
    return np.where(read_NM, edge_NM.sum(axis=1, keepdims=True) / np.maximum(read_NM.sum(axis=1, keepdims=True), 1), 0.0)


def _block(
    quantity: str,
    value: NDArray[np.floating],
    target: NDArray[np.str_] | str = "",
    source: NDArray[np.str_] | str = "",
    lag: NDArray[np.integer] | int = -1,
    head: NDArray[np.integer] | int = -1,
) -> pd.DataFrame:
    keys = {"quantity": quantity, "target": target, "source": source, "lag": lag, "head": head}
    frame = pd.DataFrame(keys, index=range(len(value)))
    frame["value"] = np.asarray(value, dtype=np.float32)
    return frame.astype({"lag": "int32", "head": "int32"})
