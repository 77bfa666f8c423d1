"""The files of attention, by day, tidy and small; every function is given their folder.

    <day>.parquet             day, model_id, quantity, target, source, lag, head, value
    next_bar/<day>.parquet    as_of, asset_id, forecast, alone, model_id
    evidence/<day>.parquet    one row an ordered pair, on the first day of each model
    agreement/<day>.parquet   one row a pair of views or statistics, on the same days

Axes: D days, N targets, M sources.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.analysis.evidence import AGREEMENT_COLUMNS, EVIDENCE_COLUMNS, Evidence
from crossattn_core.analysis.snapshot import NEXT_BAR_COLUMNS, SNAPSHOT_COLUMNS, Snapshot
from crossattn_core.errors import HistoryError
from crossattn_core.storage import write_parquet

__all__ = [
    "StoredAttention",
    "edge_matrices",
    "read_attention",
    "read_snapshots",
    "read_snapshots_from_previous",
    "write_evidence",
    "write_snapshot",
]


@dataclass(frozen=True)
class StoredAttention:
    """What is stored up to the end of ``last``; frames are empty where nothing is."""

    last: date
    window_start: date
    """First of the newest ``analysis.window_days`` days."""
    history: pd.DataFrame
    """``SNAPSHOT_COLUMNS`` of all days, quantities edge, entropy and received."""
    top: pd.DataFrame
    """``SNAPSHOT_COLUMNS`` of the window, quantity top."""
    source_lag: pd.DataFrame
    """``SNAPSHOT_COLUMNS`` of the window, quantity source_lag."""
    next_bar: pd.DataFrame
    """``NEXT_BAR_COLUMNS`` of the window."""
    evidence: pd.DataFrame
    """The newest ``EVIDENCE_COLUMNS``."""
    agreement: pd.DataFrame
    """The newest ``AGREEMENT_COLUMNS``."""

    @property
    def window_edges(self) -> pd.DataFrame:
        """The edges of the window."""
        return self.history[(self.history["quantity"] == "edge") & (self.history["day"] >= pd.Timestamp(self.window_start))]


def read_attention(folder: Path, last: date, window_days: int) -> StoredAttention:
    """Everything that is stored up to the end of ``last`` and that leaders and pictures are made from.

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
    return StoredAttention(
        last,
        start,
        read_snapshots(folder, date.min, last, ("edge", "entropy", "received")),
        read_snapshots(folder, start, last, ("top",)),
        read_snapshots(folder, start, last, ("source_lag",)),
        _read(folder / "next_bar", start, last, NEXT_BAR_COLUMNS),
        _newest(folder / "evidence", last, EVIDENCE_COLUMNS),
        _newest(folder / "agreement", last, AGREEMENT_COLUMNS),
    )


def read_snapshots(folder: Path, first: date, last: date, quantities: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Stored snapshots of the days first..last (``SNAPSHOT_COLUMNS``), ascending."""
    return _read(folder, first, last, SNAPSHOT_COLUMNS, quantities)


def read_snapshots_from_previous(folder: Path, first: date, last: date, quantities: tuple[str, ...]) -> pd.DataFrame:
    """``read_snapshots`` of first..last and of the newest stored day before, which a change is counted from."""
    earlier = _paths(folder, date.min, first - timedelta(days=1))
    start = date.fromisoformat(earlier[-1].stem) if earlier else first
    # A gap in between holds no snapshot, so the range from the previous one on reads nothing else.
    return read_snapshots(folder, start, last, quantities)


def write_snapshot(folder: Path, snapshot: Snapshot, next_bar: pd.DataFrame) -> None:
    """Store a day's snapshot and next-bar forecasts (``NEXT_BAR_COLUMNS``)."""
    _write(folder / "next_bar" / f"{snapshot.day}.parquet", next_bar)
    _write(folder / f"{snapshot.day}.parquet", snapshot.to_frame())


def write_evidence(folder: Path, day: date, evidence: Evidence) -> None:
    """Store both tables of ``day``."""
    _write(folder / "agreement" / f"{day}.parquet", evidence.agreement)
    _write(folder / "evidence" / f"{day}.parquet", evidence.pairs)


def edge_matrices(snapshots: pd.DataFrame, asset_ids: tuple[str, ...]) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """(D,) days and (D, N, M) edge weights, target by source, of the snapshots given; 0 on the diagonal."""
    edges = snapshots[snapshots["quantity"] == "edge"]
    if edges.empty:
        return np.zeros(0, dtype="datetime64[us]"), np.zeros((0, len(asset_ids), len(asset_ids)))
    day_D, d_K = np.unique(edges["day"].to_numpy(), return_inverse=True)
    place = {asset_id: n for n, asset_id in enumerate(asset_ids)}
    edge_DNM = np.zeros((len(day_D), len(asset_ids), len(asset_ids)))
    edge_DNM[d_K, edges["target"].map(place).to_numpy(), edges["source"].map(place).to_numpy()] = edges["value"].to_numpy()
    return day_D, edge_DNM


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


def _read(
    folder: Path, first: date, last: date, columns: tuple[str, ...], quantities: tuple[str, ...] | None = None
) -> pd.DataFrame:
    paths = _paths(folder, first, last)
    if not paths:
        return pd.DataFrame(columns=list(columns))
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in paths])
    if quantities is not None:
        table = table.filter(pc.field("quantity").isin(list(quantities)))
    return table.to_pandas()


def _newest(folder: Path, last: date, columns: tuple[str, ...]) -> pd.DataFrame:
    paths = _paths(folder, date.min, last)
    return pq.ParquetFile(paths[-1]).read().to_pandas() if paths else pd.DataFrame(columns=list(columns))


def _paths(folder: Path, first: date, last: date) -> list[Path]:
    return sorted(path for path in folder.glob("????-??-??.parquet") if str(first) <= path.stem <= str(last))
