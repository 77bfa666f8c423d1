"""Target weights: the share of equity in each asset that a strategy trades to, decision by decision, and their file.

    <folder>/<strategy>.parquet      as_of, asset_id, strategy, target_weight, shrinkage

Axes: D decisions, T rows of the grid, N assets in universe order.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.panel.schemas import check_table
from crossattn_core.portfolio.frames import frame_axes
from crossattn_core.storage import read_parquet, write_parquet

__all__ = ["Targets", "read_weights", "save_weights"]


@dataclass(frozen=True)
class Targets:
    """The target weights of one strategy. Grain: decision x asset."""

    strategy: str
    asset_ids: tuple[str, ...]
    as_of_D: NDArray[np.datetime64]
    """(D,) decision instants, naive UTC datetime64[us], increasing; the fill comes ``execution_lag`` rows later."""
    target_DN: NDArray[np.float64]
    """(D, N) share of equity after the trade; NaN: leave this asset's position alone."""
    shrinkage_DN: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """(D, N) factor in [0, 1] on the forecast (see forecast_shrinkage.py); empty for strategies without forecasts."""

    def __post_init__(self) -> None:
        if not isinstance(self.target_DN, np.ndarray) or self.target_DN.dtype.kind not in "fiu":
            kind = self.target_DN.dtype if isinstance(self.target_DN, np.ndarray) else type(self.target_DN).__name__
            raise BacktestError(f"{self.strategy}: target weights are {kind}; an array of numbers is needed, decisions x assets")
        if np.asarray(self.as_of_D).dtype.kind != "M":
            raise BacktestError(
                f"{self.strategy}: decisions are {np.asarray(self.as_of_D).dtype}; as_of_D is naive UTC datetime64 "
                "(of a pandas index with a time zone: tz_convert(None))"
            )
        if len(set(self.asset_ids)) < len(self.asset_ids):
            raise BacktestError(f"{self.strategy}: weights for an asset twice among {', '.join(self.asset_ids)}")
        if self.target_DN.shape != (len(self.as_of_D), len(self.asset_ids)):
            raise BacktestError(
                f"{self.strategy}: target weights have shape {self.target_DN.shape}; "
                f"{len(self.as_of_D)} decisions x {len(self.asset_ids)} assets need {(len(self.as_of_D), len(self.asset_ids))}"
            )
        if np.isinf(self.target_DN).any():
            decision, asset = np.argwhere(np.isinf(self.target_DN))[0]
            raise BacktestError(
                f"{self.strategy}: infinite weight for {self.asset_ids[asset]} at {self.as_of_D[decision]}; "
                "a weight is a finite share of equity, NaN leaves the position alone"
            )
        if len(self.as_of_D) > 1 and not (self.as_of_D[1:] > self.as_of_D[:-1]).all():
            raise BacktestError(f"{self.strategy}: decisions are not in increasing order of time; sort them by as_of")

    @classmethod
    def of_frame(cls, strategy: str, weights: pd.DataFrame) -> Self:
        """The targets of a frame: a row a decision, a column an asset, NaN where a position is left alone; no time zone is UTC.

        Raises:
            BacktestError: as ``frame_axes``, or a weight that is infinite.
        """
        as_of_D, asset_ids, target_DN = frame_axes(weights, strategy)
        return cls(strategy, asset_ids, as_of_D, target_DN)

    def rows(self, as_of_T: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """(D,) row of each decision in ``as_of_T``.

        Raises:
            BacktestError: a decision falls on no row.
        """
        row_D = np.searchsorted(as_of_T, self.as_of_D)
        found_D = (row_D < len(as_of_T)) & (as_of_T[np.minimum(row_D, len(as_of_T) - 1)] == self.as_of_D)
        if not found_D.all():
            missing = self.as_of_D[~found_D]
            raise BacktestError(
                f"{self.strategy}: {len(missing)} of {len(self.as_of_D)} decisions fall on no row of the market "
                f"({as_of_T[0]} .. {as_of_T[-1]}), first {missing[0]}; simulate on the panel that the weights were made from"
            )
        return row_D.astype(np.int64)

    def until(self, last: np.datetime64) -> "Targets":
        """The decisions at or before ``last``.

        Raises:
            BacktestError: there is none.
        """
        count = int(np.searchsorted(self.as_of_D, last, side="right"))
        if not count:
            raise BacktestError(f"{self.strategy} decided nothing up to {last}; its first decision is at {self.as_of_D[0]}")
        shrinkage_DN = self.shrinkage_DN[:count] if self.shrinkage_DN.size else self.shrinkage_DN
        return Targets(self.strategy, self.asset_ids, self.as_of_D[:count], self.target_DN[:count], shrinkage_DN)

    @property
    def shrinkage_D(self) -> NDArray[np.float64]:
        """(D,) factor on the forecasts, averaged over assets; empty for strategies without forecasts."""
        return self.shrinkage_DN.mean(axis=1) if self.shrinkage_DN.size else np.empty(0)

    @property
    def content_hash(self) -> str:
        """Sixteen hex digits over decisions, assets and weights."""
        digest = hashlib.sha256("|".join((self.strategy, *self.asset_ids)).encode())
        digest.update(np.ascontiguousarray(self.as_of_D, "datetime64[us]").view(np.int64).tobytes())
        digest.update(np.ascontiguousarray(self.target_DN).tobytes())
        return digest.hexdigest()[:16]


def save_weights(folder: Path, targets: Targets) -> Path:
    """Store targets in ``folder``. Grain: (as_of, asset_id); a null ``target_weight`` leaves the position alone.

    Raises:
        BrokenContractError: a weight is beyond reason, or is there twice; what was stored before stays.
    """
    decisions, assets = targets.target_DN.shape
    weight = targets.target_DN.ravel()
    shrinkage = (targets.shrinkage_DN if targets.shrinkage_DN.size else np.full(targets.target_DN.shape, np.nan)).ravel()
    table = pa.table(
        {
            "as_of": pa.array(np.repeat(targets.as_of_D.astype("datetime64[us]"), assets)),
            "asset_id": pa.array(list(targets.asset_ids) * decisions, pa.string()),
            "strategy": pa.array([targets.strategy] * len(weight), pa.string()),
            "target_weight": pa.array(weight, mask=np.isnan(weight)),
            "shrinkage": pa.array(shrinkage, mask=np.isnan(shrinkage)),
        }
    )
    if table.num_rows:
        check_table("weights", table.to_pandas())
    return write_parquet(folder / f"{targets.strategy}.parquet", table)


def read_weights(folder: Path, strategy: str) -> Targets:
    """Targets as ``save_weights`` stored them, bit for bit.

    Raises:
        BacktestError: no weights are stored for ``strategy``, or they are of an earlier format.
    """
    path = folder / f"{strategy}.parquet"
    if not path.is_file():
        raise BacktestError(f"{path}: no weights of {strategy!r} are stored; make the target weights first")
    stored: pd.DataFrame = read_parquet(path, "'crossattn backtest' writes it again").to_pandas()
    if "shrinkage" not in stored:
        raise BacktestError(
            f"{path}: the weights have no column 'shrinkage', an earlier version stored them; 'crossattn run' makes them again"
        )
    asset_ids = tuple(dict.fromkeys(stored["asset_id"]))
    as_of_D = stored["as_of"].to_numpy("datetime64[us]")[:: max(len(asset_ids), 1)]
    shrinkage_DN = stored["shrinkage"].to_numpy(np.float64).reshape(len(as_of_D), len(asset_ids))
    return Targets(
        strategy=strategy,
        asset_ids=asset_ids,
        as_of_D=as_of_D,
        target_DN=stored["target_weight"].to_numpy(np.float64).reshape(len(as_of_D), len(asset_ids)),
        shrinkage_DN=shrinkage_DN if np.isfinite(shrinkage_DN).any() else np.empty((0, 0)),
    )
