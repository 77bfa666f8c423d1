"""Attention snapshots: what the model in force read on a day, stored tidy and small.

    attention/<day>.parquet            day, model_id, quantity, target, source, lag, head, value
    attention/next_bar/<day>.parquet   as_of, asset_id, forecast, alone, model_id
    attention/evidence/, agreement/    on the first day of each model, see evidence.py

Weights are those that the forecast used (eval mode, before dropout) in the heads that serve the next bar, averaged over
the day's rows. A target never reads itself here: its own past has a path of its own, and the share on self is a quantity
apart. ``alone`` is the same checkpoint's next-bar forecast with cross-attention cut out.

Axes: R rows of the day, H heads, N targets, M sources, L lags.
"""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.analysis.evidence import take_evidence, write_evidence
from crossattn_core.analysis.snapshot import QUANTITIES, SNAPSHOT_COLUMNS, Snapshot, own_share, summarise
from crossattn_core.days import bounds
from crossattn_core.errors import HistoryError
from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import FittedModel
from crossattn_core.families.registry import load_model
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.storage import write_parquet
from crossattn_core.walk_forward.past import Load
from crossattn_core.walk_forward.store import read_day

__all__ = [
    "NEXT_BAR_COLUMNS",
    "QUANTITIES",
    "SNAPSHOT_COLUMNS",
    "Snapshot",
    "edge_matrices",
    "next_bar_frame",
    "read_next_bar",
    "read_snapshots",
    "read_snapshots_from_previous",
    "snapshot_day",
    "summarise",
]

NEXT_BAR_COLUMNS = ("as_of", "asset_id", "forecast", "alone", "model_id")
"""Grain: (as_of, asset_id). Log return of the next bar, close to close; never traded."""

FAMILY = "attention"


def snapshot_day(
    home: Home,
    experiment: Experiment,
    panel: Panel,
    day: date,
    *,
    load: Load = load_model,
    models: dict[str, FittedModel] | None = None,
) -> Snapshot | None:
    """Store what the attention model in force read on ``day``; none while no such model is in force.

    Args:
        models: loaded models by id, shared between the days of a backfill; filled as needed.

    Raises:
        HistoryError: the walk-forward has not stepped the day, or the panel holds no row of it.
    """
    model_id = _in_force(home, day)
    if model_id is None:
        raise HistoryError(f"attention of {day}: the walk-forward has not stepped that day; step it first")
    if not model_id:
        return None
    models = {} if models is None else models
    if model_id not in models:
        models.clear()
        models[model_id] = load(home.models / model_id, experiment)
    model = models[model_id]
    start, end = bounds(day)
    rows = np.arange(panel.row_of(np.datetime64(start, "us")) + 1, panel.row_of(np.datetime64(end, "us")) + 1)
    if not len(rows):
        raise HistoryError(f"attention of {day}: the panel holds no row of that day; export it first")
    known = panel.until(int(rows[-1]) + 1)
    weights = model.attention(known, rows)
    if weights is None:
        return None
    alone_RN = model.forecast_without_others(known, rows)
    forecast_RN = model.forecast_next_bar(known, rows)
    own_share_N = None if alone_RN is None else own_share(forecast_RN, alone_RN)
    snapshot = replace(summarise(weights, day, model_id), own_share_N=own_share_N)
    _write(_path(home, day), snapshot.to_frame())
    next_bar = next_bar_frame(known, rows, forecast_RN, alone_RN, model_id)
    _write(_next_bar_path(home, day), next_bar)
    if _in_force(home, day - timedelta(days=1)) != model_id:
        evidence = take_evidence(model, known, day, experiment)
        if evidence is not None:
            write_evidence(home, day, evidence)
    return snapshot


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


def read_snapshots(home: Home, first: date, last: date, quantities: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Stored snapshots of the days first..last (``SNAPSHOT_COLUMNS``), ascending."""
    return _read(home.attention, first, last, SNAPSHOT_COLUMNS, quantities)


def read_snapshots_from_previous(home: Home, first: date, last: date, quantities: tuple[str, ...]) -> pd.DataFrame:
    """``read_snapshots`` of first..last and of the newest stored day before, which a change is counted from."""
    earlier = [path.stem for path in home.attention.glob("????-??-??.parquet") if path.stem < str(first)]
    start = date.fromisoformat(max(earlier)) if earlier else first
    # A gap in between holds no snapshot, so the range from the previous one on reads nothing else.
    return read_snapshots(home, start, last, quantities)


def read_next_bar(home: Home, first: date, last: date) -> pd.DataFrame:
    """Stored next-bar forecasts of the days first..last (``NEXT_BAR_COLUMNS``), ascending."""
    return _read(home.attention / "next_bar", first, last, NEXT_BAR_COLUMNS, None)


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


def _in_force(home: Home, day: date) -> str | None:
    """The attention model in force on ``day``, '' for none; none where the walk-forward has not stepped it."""
    record = read_day(home, day)
    return None if record is None else record["state"]["in_force"].get(FAMILY, "")


def _path(home: Home, day: date) -> Path:
    return home.attention / f"{day}.parquet"


def _next_bar_path(home: Home, day: date) -> Path:
    return home.attention / "next_bar" / f"{day}.parquet"


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


def _read(folder: Path, first: date, last: date, columns: tuple[str, ...], quantities: tuple[str, ...] | None) -> pd.DataFrame:
    paths = sorted(path for path in folder.glob("????-??-??.parquet") if str(first) <= path.stem <= str(last))
    if not paths:
        return pd.DataFrame(columns=list(columns))
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in paths])
    if quantities is not None:
        table = table.filter(pc.field("quantity").isin(list(quantities)))
    return table.to_pandas()
