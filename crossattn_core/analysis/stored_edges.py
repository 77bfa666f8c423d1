"""Stored edges of attention, day by day: what readers of many days add up, none of which holds more than a day's edges at once.

Of a wide universe a snapshot stores a target's strongest sources (``snapshot.STORED_SOURCES``) and the share that they leave
out; here that share lies evenly on the other sources that were read, so each target's edges still add up to one.

Axes: N targets, M sources, L lags, K rows, P pairs of code and sum.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "DayAttention",
    "EdgeChange",
    "LagSums",
    "SnapshotRows",
    "WindowEdges",
    "attention_by_day",
    "edge_changes",
    "moved_share",
    "window_edges",
]


_NOWHERE = np.iinfo(np.int64).max


class SnapshotRows:
    """Rows of snapshots (``snapshot.SNAPSHOT_COLUMNS``) as arrays, K chosen ones at a time."""

    def __init__(self, frame: pd.DataFrame, place: dict[str, int]) -> None:
        self.frame, self.place = frame, place
        self._quantity = frame["quantity"].array
        self._value, self._lag = frame["value"].to_numpy(np.float64), frame["lag"].to_numpy()

    def of(self, quantity: str) -> NDArray[np.int64]:
        """(K,) the rows of a quantity."""
        return np.flatnonzero(np.asarray(self._quantity == quantity))

    def values(self, rows_K: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K,) their values."""
        return self._value[rows_K]

    def lags(self, rows_K: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K,) their lags, which they must have."""
        return self._lag[rows_K].astype(np.int64)

    def places(self, column: str, rows_K: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K,) place in the universe of each one's ``target`` or ``source``; one that is not there lies outside every array."""
        named = self.frame[column]
        if not isinstance(named.dtype, pd.CategoricalDtype):
            named = named.astype("category")
        of_code = [self.place.get(name, _NOWHERE) for name in named.cat.categories]
        return np.array([*of_code, _NOWHERE])[named.cat.codes.to_numpy()[rows_K]]  # the last one is that of code -1, no name


class DayAttention(NamedTuple):
    """One day's stored attention."""

    day: pd.Timestamp
    model_id: str
    edge_NM: NDArray[np.float64]
    """Share of target n's attention on source m; rows add up to one, or to nothing where the target never read."""
    left_out_N: NDArray[np.float64]
    """Share of it that lies on sources whose edges were not stored."""
    by_lag: "LagSums"
    """The stored edges by (target, source, strongest lag)."""
    received_N: NDArray[np.float64]
    """Attention received over the fair share; NaN where it is not among the rows."""
    entropy: float
    """Mean over heads; NaN where it is not among the rows."""


@dataclass
class LagSums:
    """Sums by (n, m, lag), of those that there are; grows by what is added, never by the number of days."""

    assets: int
    code_P: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(lag * N + n) * N + m, ascending."""
    total_P: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(
        cls,
        assets: int,
        n_K: NDArray[np.int64],
        m_K: NDArray[np.int64],
        lag_K: NDArray[np.int64],
        value_K: NDArray[np.float64],
    ) -> "LagSums":
        """Of rows at (target, source, lag)."""
        sums = cls(assets)
        sums._add((lag_K * assets + n_K) * assets + m_K, value_K)
        return sums

    def add(self, other: "LagSums") -> None:
        """Add the sums of another."""
        self._add(other.code_P, other.total_P)

    def _add(self, code_K: NDArray[np.int64], value_K: NDArray[np.float64]) -> None:
        code_X, place_X = np.unique(np.concatenate([self.code_P, code_K]), return_inverse=True)
        total_X = np.bincount(place_X, np.concatenate([self.total_P, value_K]), minlength=len(code_X))
        self.total_P = np.asarray(total_X, dtype=np.float64)
        self.code_P = code_X

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(P,) target, source and lag of each sum."""
        lag_P, pair_P = np.divmod(self.code_P, self.assets**2)
        return pair_P // self.assets, pair_P % self.assets, lag_P

    def dense(self, lags: int) -> NDArray[np.float64]:
        """(N, M, L) sums at lags 1..``lags``."""
        dense_NML = np.zeros((self.assets, self.assets, lags))
        n_P, m_P, lag_P = self.places
        dense_NML[n_P, m_P, lag_P - 1] = self.total_P
        return dense_NML


@dataclass
class WindowEdges:
    """The edges of many days, added up as they are read."""

    asset_ids: tuple[str, ...]
    days: int = 0
    total_NM: NDArray[np.float64] = field(init=False)
    left_out: float = 0.0
    """Sum over days of the mean share that was not stored."""
    by_lag: LagSums = field(init=False)
    """Stored edges by (target, source, strongest lag of the day)."""

    def __post_init__(self) -> None:
        assets = len(self.asset_ids)
        self.total_NM, self.by_lag = np.zeros((assets, assets)), LagSums(assets)

    def add(self, of: DayAttention) -> None:
        """One more day."""
        self.days += 1
        self.total_NM += of.edge_NM
        reads_N = of.edge_NM.sum(axis=1) > 0
        self.left_out += float(of.left_out_N[reads_N].mean()) if reads_N.any() else 0.0
        self.by_lag.add(of.by_lag)

    @property
    def mean_NM(self) -> NDArray[np.float64]:
        """(N, M) mean share of target n's attention on source m over the days; zeros without a day."""
        return self.total_NM / max(self.days, 1)

    @property
    def stored_share(self) -> float:
        """Share of attention that the stored edges hold, mean over targets and days: 1 where all were stored."""
        return 1.0 - self.left_out / max(self.days, 1)


def window_edges(snapshots: Iterable[pd.DataFrame], asset_ids: tuple[str, ...]) -> WindowEdges:
    """The edges of snapshots (``snapshot.SNAPSHOT_COLUMNS``), added up."""
    window = WindowEdges(asset_ids)
    for of in attention_by_day(snapshots, asset_ids):
        window.add(of)
    return window


def attention_by_day(snapshots: Iterable[pd.DataFrame], asset_ids: tuple[str, ...]) -> Iterator[DayAttention]:
    """Snapshots (``snapshot.SNAPSHOT_COLUMNS``) of ascending days, one or more in a frame, day by day; days without edges are
    left out. Cut edges need the quantities left_out and received beside them.
    """
    place = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    for frame in snapshots:
        if not len(frame):
            continue
        days = frame["day"].iloc[[0, -1]]
        for day, of_day in [(days.iloc[0], frame)] if days.nunique() == 1 else frame.groupby("day"):
            rows = SnapshotRows(of_day, place)
            if len(edges_K := rows.of("edge")):
                yield _of_day(pd.Timestamp(str(day)), rows, edges_K)


class EdgeChange(NamedTuple):
    """A day beside the snapshot before it."""

    now: DayAttention
    since_previous: float
    """Share of attention that moved; NaN on the first day."""
    same_model: bool


def edge_changes(days: Iterable[DayAttention]) -> Iterator[EdgeChange]:
    """Each day with what moved since the one before."""
    before: DayAttention | None = None
    for now in days:
        moved = float("nan") if before is None else moved_share(before.edge_NM, now.edge_NM)
        yield EdgeChange(now, moved, before is not None and before.model_id == now.model_id)
        before = now


def moved_share(before_NM: NDArray[np.float64], after_NM: NDArray[np.float64]) -> float:
    """Half the absolute difference of two edge matrices, averaged over targets that read in both: 0 none, 1 all of it."""
    reads_N = (before_NM.sum(axis=1) > 0) & (after_NM.sum(axis=1) > 0)
    if not reads_N.any():
        return float("nan")
    return float(0.5 * np.abs(after_NM - before_NM)[reads_N].sum(axis=1).mean())


def _of_day(day: pd.Timestamp, rows: SnapshotRows, edges_K: NDArray[np.int64]) -> DayAttention:
    assets = len(rows.place)

    def by_asset(quantity: str, column: str) -> NDArray[np.float64] | None:
        rows_K, value_N = rows.of(quantity), np.full(assets, np.nan)
        value_N[rows.places(column, rows_K)] = rows.values(rows_K)
        return value_N if len(rows_K) else None

    n_K, m_K, value_K = rows.places("target", edges_K), rows.places("source", edges_K), rows.values(edges_K)
    edge_NM = np.zeros((assets, assets))
    edge_NM[n_K, m_K] = value_K
    left_out_N, received_N = by_asset("left_out", "target"), by_asset("received", "source")
    if left_out_N is not None and received_N is not None:
        unstored_NM = np.broadcast_to(received_N > 0, edge_NM.shape) & ~np.eye(assets, dtype=bool)
        unstored_NM[n_K, m_K] = False
        even_N = np.nan_to_num(left_out_N) / np.maximum(unstored_NM.sum(axis=1), 1)
        edge_NM = np.where(unstored_NM, even_N[:, None], edge_NM)
    return DayAttention(
        day,
        str(rows.frame["model_id"].iloc[edges_K[0]]),
        edge_NM,
        np.zeros(assets) if left_out_N is None else np.nan_to_num(left_out_N),
        LagSums.of(assets, n_K, m_K, rows.lags(edges_K), value_K),
        np.full(assets, np.nan) if received_N is None else received_N,
        float(rows.frame["value"].iloc[rows.of("entropy")].mean()),
    )
