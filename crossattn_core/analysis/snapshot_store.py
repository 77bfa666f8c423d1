"""The files of attention, by day, tidy and small; every function is given their folder.

    <day>.parquet             day, model_id, quantity, target, source, lag, head, value
    next_bar/<day>.parquet    as_of, asset_id, forecast, alone, model_id
    evidence/<day>.parquet    one row an ordered pair, on the first day of each model
    agreement/<day>.parquet   one row a pair of views or statistics, on the same days

Axes: D days, N targets, M sources, K rows, P pairs of code and sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from crossattn_core.analysis.evidence import AGREEMENT_COLUMNS, EVIDENCE_COLUMNS, Evidence
from crossattn_core.analysis.snapshot import NEXT_BAR_COLUMNS, Snapshot
from crossattn_core.analysis.stored_edges import LagSums, SnapshotRows, WindowEdges, attention_by_day, edge_changes
from crossattn_core.errors import HistoryError
from crossattn_core.storage import FROM_BACKUP, read_parquet, write_parquet

__all__ = [
    "StoredAttention",
    "read_attention",
    "snapshots_from_previous",
    "write_evidence",
    "write_snapshot",
]


@dataclass(frozen=True)
class StoredAttention:
    """What is stored up to the end of ``last``, added up as it is read; frames are empty where nothing is."""

    last: date
    day_D: NDArray[np.datetime64]
    """Every snapshot's day."""
    received_DN: NDArray[np.float64]
    """Attention received over the fair share."""
    entropy_D: NDArray[np.float64]
    """Mean over heads."""
    moved_D: NDArray[np.float64]
    """Share of attention that moved since the snapshot before; NaN for the first."""
    newest_NM: NDArray[np.float64] | None
    """Edges of the newest snapshot; none without one."""
    edges: WindowEdges
    """Edges of the newest ``analysis.window_days`` days, the window."""
    top: LagSums
    """The window's largest weights, by (target, source, lag)."""
    top_days: int
    """Days of the window with any."""
    by_lag: pd.DataFrame
    """Mean share of attention on a source (row, asset id) at a lag (column) over the window."""
    next_bar: pd.DataFrame
    """``NEXT_BAR_COLUMNS`` of the window."""
    evidence: pd.DataFrame
    """The newest ``EVIDENCE_COLUMNS``."""
    agreement: pd.DataFrame
    """The newest ``AGREEMENT_COLUMNS``."""


def read_attention(folder: Path, last: date, window_days: int, asset_ids: tuple[str, ...]) -> StoredAttention:
    """Everything that is stored up to the end of ``last`` and that leaders and pictures are made from; one day's snapshot is in
    memory at a time, however many there are.

    Raises:
        HistoryError: next-bar forecasts of the window are no longer kept.
    """
    start = last - timedelta(days=window_days - 1)
    days, with_next_bar = ({path.stem for path in _paths(of, start, last)} for of in (folder, folder / "next_bar"))
    if gone := sorted(days - with_next_bar):
        raise HistoryError(
            f"who led as of {last} rests on next-bar forecasts of {len(gone)} days ({gone[0]} .. {gone[-1]}) that are no longer "
            "kept (retention.snapshot_days); materialize attention_snapshot over these days in the web UI to have them again"
        )
    lags, edges, newest_NM = _WindowLags(asset_ids), WindowEdges(asset_ids), None

    def read() -> Iterator[pd.DataFrame]:
        for path in _paths(folder, date.min, last):
            snapshot = _read_path(path)
            if path.stem >= str(start):
                lags.add(snapshot)
            yield snapshot

    rows: list[tuple[np.datetime64, NDArray[np.float64], float, float]] = []
    for now, moved, _ in edge_changes(attention_by_day(read(), asset_ids)):
        rows.append((np.datetime64(now.day, "us"), now.received_N, now.entropy, moved))
        newest_NM = now.edge_NM
        if now.day >= pd.Timestamp(start):
            edges.add(now)
    return StoredAttention(
        last,
        np.array([row[0] for row in rows], dtype="datetime64[us]"),
        np.array([row[1] for row in rows]).reshape(-1, len(asset_ids)),
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows]),
        newest_NM,
        edges,
        lags.top,
        lags.days,
        lags.by_lag,
        _read(folder / "next_bar", start, last, NEXT_BAR_COLUMNS),
        _newest(folder / "evidence", last, EVIDENCE_COLUMNS),
        _newest(folder / "agreement", last, AGREEMENT_COLUMNS),
    )


class _WindowLags:
    """What the snapshots of a window say of lags, added up."""

    def __init__(self, asset_ids: tuple[str, ...]) -> None:
        self._asset_ids, self._place = asset_ids, {asset_id: n for n, asset_id in enumerate(asset_ids)}
        self.top, self._sources = LagSums(len(asset_ids)), LagSums(len(asset_ids))
        self.days = 0

    def add(self, snapshot: pd.DataFrame) -> None:
        """One more day (``SNAPSHOT_COLUMNS``)."""
        self.days += 1
        rows = SnapshotRows(snapshot, self._place)
        for sums, quantity in ((self.top, "top"), (self._sources, "source_lag")):
            rows_K = rows.of(quantity)
            m_K = rows.places("source", rows_K)
            n_K = rows.places("target", rows_K) if quantity == "top" else np.zeros_like(m_K)
            sums.add(LagSums.of(len(self._place), n_K, m_K, rows.lags(rows_K), rows.values(rows_K)))

    @property
    def by_lag(self) -> pd.DataFrame:
        """(source, lag) mean share over the days."""
        _, m_P, lag_P = self._sources.places
        mean = pd.DataFrame(
            {"source": np.array(self._asset_ids)[m_P], "lag": lag_P, "value": self._sources.total_P / max(self.days, 1)}
        )
        return mean.pivot(index="source", columns="lag", values="value")


def snapshots_from_previous(folder: Path, first: date, last: date) -> Iterator[pd.DataFrame]:
    """The snapshots (``SNAPSHOT_COLUMNS``) of the newest stored day before ``first``, which a change is counted from, and of
    first..last, one frame a day.
    """
    earlier = _paths(folder, date.min, first - timedelta(days=1))
    return (_read_path(path) for path in (*earlier[-1:], *_paths(folder, first, last)))


def write_snapshot(folder: Path, snapshot: Snapshot, next_bar: pd.DataFrame) -> None:
    """Store a day's snapshot and next-bar forecasts (``NEXT_BAR_COLUMNS``)."""
    _write(folder / "next_bar" / f"{snapshot.day}.parquet", next_bar)
    _write(folder / f"{snapshot.day}.parquet", snapshot.to_frame())


def write_evidence(folder: Path, day: date, evidence: Evidence) -> None:
    """Store both tables of ``day``."""
    _write(folder / "agreement" / f"{day}.parquet", evidence.agreement)
    _write(folder / "evidence" / f"{day}.parquet", evidence.pairs)


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


def _read(folder: Path, first: date, last: date, columns: tuple[str, ...]) -> pd.DataFrame:
    paths = _paths(folder, first, last)
    if not paths:
        return pd.DataFrame(columns=list(columns))
    return pa.concat_tables([read_parquet(path, FROM_BACKUP) for path in paths]).to_pandas()


def _read_path(path: Path) -> pd.DataFrame:
    # Names as categories: hundreds of assets repeat each of theirs thousands of times.
    return read_parquet(path, FROM_BACKUP, read_dictionary=["model_id", "quantity", "target", "source"]).to_pandas()


def _newest(folder: Path, last: date, columns: tuple[str, ...]) -> pd.DataFrame:
    paths = _paths(folder, date.min, last)
    return read_parquet(paths[-1], FROM_BACKUP).to_pandas() if paths else pd.DataFrame(columns=list(columns))


def _paths(folder: Path, first: date, last: date) -> list[Path]:
    return sorted(path for path in folder.glob("????-??-??.parquet") if str(first) <= path.stem <= str(last))
