"""The hand-over: the champion's target weights, as files that any broker script can read.

    target_weights/target_weights.parquet, .csv, .json   every decision; the same rows in each
    target_weights/newest.json                           the newest decision alone, with its champion and the reason
    target_weights/champions.parquet, duels.parquet      the champion of each day, and the paired tests that chose it

Every file is written atomically, ``newest.json`` last.

Axes: D decisions, N assets.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.portfolio.strategies.registry import BASELINES
from crossattn_core.selection.choose import Champions
from crossattn_core.selection.follow import Followed
from crossattn_core.storage import read_parquet, write_json, write_parquet, write_text

__all__ = [
    "HANDOVER_COLUMNS",
    "champion_note",
    "check_handover",
    "handover_of",
    "read_champions",
    "read_handover",
    "save_handover",
]

HANDOVER_COLUMNS = ("as_of", "fill_at", "asset_id", "weight", "held_weight", "tradable", "forecast", "model_id", "champion")
"""Grain: (as_of, asset_id). ``as_of``: when the decision's information ends; ``fill_at``: when it is traded; ``weight``: share
of equity to hold from the fill on, null: leave the position alone; ``held_weight``: drifted share before the trade;
``tradable``: the calendar has the venue open at the fill; ``forecast``: log return over the traded horizon by ``model_id``,
null where the champion forecasts nothing; ``champion``: the strategy followed."""

_AGAIN = "'crossattn backtest' writes it again"
_TOLERANCE = 1e-9
FAULT_COLUMNS = ("as_of", "asset_id", "weight", "fault")


def handover_of(followed: Followed, forecasts: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Every decision of the champion as rows (``HANDOVER_COLUMNS``), ascending in time, assets in panel order."""
    targets, labels = followed.targets, experiment.labels
    decisions, assets = targets.target_DN.shape
    lag = labels.execution_lag * experiment.grid.step_us
    as_of_K = np.repeat(targets.as_of_D.astype("datetime64[us]"), assets)
    handover = pd.DataFrame(
        {
            "as_of": as_of_K,
            "fill_at": as_of_K + lag,
            "asset_id": list(targets.asset_ids) * decisions,
            "weight": targets.target_DN.ravel(),
            "held_weight": followed.held_DN.ravel(),
            "tradable": followed.open_DN.ravel(),
            "champion": np.repeat(np.array(followed.champion_D, dtype=object), assets),
        }
    )
    traded = forecasts[forecasts["horizon"] == labels.trade_horizon]
    traded = traded.rename(columns={"family": "champion"})[["as_of", "asset_id", "champion", "forecast", "model_id"]]
    handover = handover.merge(traded, on=["as_of", "asset_id", "champion"], how="left", validate="one_to_one")
    return handover[list(HANDOVER_COLUMNS)]


def check_handover(handover: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """The rows that must not be traded (``as_of, asset_id, weight, fault``); an empty frame is the proof.

    Each weight is finite, within the asset's limit and for a venue that is open at the fill; together with the positions
    that stay, a decision keeps the gross limit. Drift may carry a position over a limit: a weight that brings it closer
    is no fault. Baselines are bound by the gross limit alone.
    """
    settings = experiment.portfolio
    ordered = handover["weight"].notna()
    is_baseline = handover["champion"].isin(list(BASELINES.names()))
    cap = np.where(is_baseline, settings.gross, settings.max_weight)
    size, held = handover["weight"].abs(), handover["held_weight"].abs()
    fault = pd.Series("", index=handover.index)
    gross = size.where(ordered, held).groupby(handover["as_of"]).transform("sum")
    gross_held = held.groupby(handover["as_of"]).transform("sum")
    limit = np.maximum(settings.gross, gross_held)
    fault[ordered & (gross > limit + _TOLERANCE)] = f"the decision's gross exposure is beyond {settings.gross:g}"
    fault[ordered & (size > cap + _TOLERANCE) & (size > held + _TOLERANCE)] = "weight beyond the asset's limit"
    fault[ordered & ~handover["tradable"].astype(bool)] = "the venue is closed at the fill"
    fault[np.isinf(handover["weight"]) | ~np.isfinite(handover["held_weight"]) | np.isinf(handover["forecast"])] = "not finite"
    fault[~handover["asset_id"].isin(experiment.asset_ids)] = "not in the universe"
    return handover.assign(fault=fault).loc[fault != "", list(FAULT_COLUMNS)].reset_index(drop=True)


def save_handover(folder: Path, handover: pd.DataFrame, champions: Champions, knobs_hash: str) -> None:
    """Write the hand-over to ``folder``; ``knobs_hash`` names the knobs that the weights depend on."""
    write_parquet(folder / "champions.parquet", pa.Table.from_pandas(champions.by_day, preserve_index=False))
    write_parquet(folder / "duels.parquet", pa.Table.from_pandas(champions.paired_tests, preserve_index=False))
    write_parquet(folder / "target_weights.parquet", pa.Table.from_pandas(handover, preserve_index=False))
    write_text(folder / "target_weights.csv", handover.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))
    write_json(folder / "target_weights.json", _records(handover))
    newest = handover[handover["as_of"] == handover["as_of"].max()]
    reason = champions.by_day.set_index("day")["why"].get(_day_of(newest["as_of"].iloc[0]), "")
    head = {"as_of": _stamp(newest["as_of"].iloc[0]), "fill_at": _stamp(newest["fill_at"].iloc[0])}
    head |= {"champion": newest["champion"].iloc[0], "why": reason, "knobs_hash": knobs_hash}
    write_json(folder / "newest.json", {**head, "weights": _records(newest.drop(columns=["as_of", "fill_at", "champion"]))})


def read_handover(folder: Path) -> pd.DataFrame:
    """The stored hand-over (``HANDOVER_COLUMNS``).

    Raises:
        BacktestError: nothing was handed over yet.
    """
    path = folder / "target_weights.parquet"
    if not path.is_file():
        raise BacktestError(f"{path}: no target weights are stored; 'crossattn run' makes them")
    return read_parquet(path, _AGAIN).to_pandas()


def read_champions(folder: Path) -> Champions | None:
    """The champion by day, and the paired tests; none before the first hand-over."""
    paths = [folder / name for name in ("champions.parquet", "duels.parquet")]
    if not all(path.is_file() for path in paths):
        return None
    return Champions(*(read_parquet(path, _AGAIN).to_pandas() for path in paths))


def champion_note(champions: Champions) -> str:
    """One sentence for a reader: which strategy is followed now, and why."""
    newest = champions.by_day.iloc[-1]
    changes = int((champions.by_day["champion"] != champions.by_day["champion"].shift()).sum()) - 1
    name = str(newest["champion"]).replace("_", " ")
    chosen = "" if pd.isna(newest["chosen_on"]) else f", chosen on {newest['chosen_on']:%Y-%m-%d}"
    return f"Champion: {name}{chosen} ({newest['why']}); {changes} change{'' if changes == 1 else 's'} of champion so far."


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(rows.to_json(orient="records", date_format="iso", date_unit="s", double_precision=15))


def _stamp(instant: pd.Timestamp) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _day_of(as_of: pd.Timestamp) -> pd.Timestamp:
    return (as_of - pd.Timedelta(1, "us")).normalize()
