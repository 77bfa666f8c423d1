"""Target weights: what a strategy wants to hold, decision by decision.

Axes: D decisions, T rows of the hourly grid, N assets in universe order.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import PortfolioSettings
from crossattn_core.home import Home
from crossattn_core.panel.schemas import check_table
from crossattn_core.storage import write_parquet

__all__ = ["Targets", "decision_rows", "read_weights", "save_weights", "weights_path"]


@dataclass(frozen=True)
class Targets:
    """The target weights of one strategy. Grain: decision x asset."""

    strategy: str
    asset_ids: tuple[str, ...]
    as_of_D: NDArray[np.datetime64]
    """(D,) decision instants, naive UTC datetime64[us], increasing; the fill comes ``execution_lag`` rows later."""
    target_DN: NDArray[np.float64]
    """(D, N) share of equity wanted after the trade; NaN: leave this asset's position alone."""
    belief_DN: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """(D, N) share of the forecast that was believed; empty for strategies without forecasts."""

    def __post_init__(self) -> None:
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
        belief_DN = self.belief_DN[:count] if self.belief_DN.size else self.belief_DN
        return Targets(self.strategy, self.asset_ids, self.as_of_D[:count], self.target_DN[:count], belief_DN)

    @property
    def belief_D(self) -> NDArray[np.float64]:
        """(D,) believed share, averaged over assets; empty for strategies without forecasts."""
        return self.belief_DN.mean(axis=1) if self.belief_DN.size else np.empty(0)

    @property
    def content_hash(self) -> str:
        """Sixteen hex digits over decisions, assets and weights."""
        digest = hashlib.sha256("|".join((self.strategy, *self.asset_ids)).encode())
        digest.update(np.ascontiguousarray(self.as_of_D).view(np.int64).tobytes())
        digest.update(np.ascontiguousarray(self.target_DN).tobytes())
        return digest.hexdigest()[:16]


def decision_rows(
    as_of_T: NDArray[np.datetime64],
    settings: PortfolioSettings,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
) -> NDArray[np.int64]:
    """Rows at which positions are decided: every ``rebalance_every`` hours, one of them at ``decision_hour``.

    The schedule hangs on the calendar, not on the panel's first row: a longer panel moves no decision.
    ``first`` and ``last`` (inclusive instants) bound the rows, for instance to those with forecasts.

    >>> from crossattn_core.days import grid
    >>> from datetime import date
    >>> rows = decision_rows(grid(date(2025, 3, 1), date(2025, 3, 3)), PortfolioSettings())
    >>> [int(row) for row in rows]
    [14, 38, 62]
    """
    hour_T = as_of_T.astype("datetime64[h]").astype(np.int64)
    due_T = (hour_T - settings.decision_hour) % settings.rebalance_every == 0
    if first is not None:
        due_T &= as_of_T >= first
    if last is not None:
        due_T &= as_of_T <= last
    return np.flatnonzero(due_T)


def weights_path(home: Home, strategy: str) -> Path:
    """Where the weights of ``strategy`` are stored."""
    return home.weights / f"{strategy}.parquet"


def save_weights(home: Home, targets: Targets) -> Path:
    """Store targets as Parquet. Grain: (as_of, asset_id); a null ``target_weight`` leaves the position alone.

    Raises:
        BrokenContractError: a weight is beyond reason, or stands twice; what was stored before stays.
    """
    decisions, assets = targets.target_DN.shape
    weight = targets.target_DN.ravel()
    belief = (targets.belief_DN if targets.belief_DN.size else np.full(targets.target_DN.shape, np.nan)).ravel()
    table = pa.table(
        {
            "as_of": pa.array(np.repeat(targets.as_of_D.astype("datetime64[us]"), assets)),
            "asset_id": pa.array(list(targets.asset_ids) * decisions, pa.string()),
            "strategy": pa.array([targets.strategy] * len(weight), pa.string()),
            "target_weight": pa.array(weight, mask=np.isnan(weight)),
            "belief": pa.array(belief, mask=np.isnan(belief)),
        }
    )
    if table.num_rows:
        check_table("weights", table.to_pandas())
    return write_parquet(weights_path(home, targets.strategy), table)


def read_weights(home: Home, strategy: str) -> Targets:
    """Targets as ``save_weights`` stored them, bit for bit.

    Raises:
        BacktestError: no weights are stored for ``strategy``.
    """
    path = weights_path(home, strategy)
    if not path.is_file():
        raise BacktestError(f"{path}: no weights of {strategy!r} are stored; make the target weights first")
    stored: pd.DataFrame = pq.read_table(path).to_pandas()
    asset_ids = tuple(dict.fromkeys(stored["asset_id"]))
    as_of_D = stored["as_of"].to_numpy("datetime64[us]")[:: max(len(asset_ids), 1)]
    belief_DN = stored["belief"].to_numpy(np.float64).reshape(len(as_of_D), len(asset_ids))
    return Targets(
        strategy=strategy,
        asset_ids=asset_ids,
        as_of_D=as_of_D,
        target_DN=stored["target_weight"].to_numpy(np.float64).reshape(len(as_of_D), len(asset_ids)),
        belief_DN=belief_DN if np.isfinite(belief_DN).any() else np.empty((0, 0)),
    )
