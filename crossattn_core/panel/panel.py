"""The panel: what every model, regime and backtest reads. Time x asset x feature, with masks.

Axes: T bars of the experiment's UTC grid (as_of), N assets in universe order, F features in experiment order.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.grid import HOURLY, Grid

__all__ = ["ROW_ARRAYS", "Panel"]


@dataclass(frozen=True)
class Panel:
    """Aligned arrays; row t holds only what was known at ``as_of_T[t]``.

    Arrays are read-only and may be memory-mapped. Rows are every bar, without holes.
    """

    as_of_T: NDArray[np.datetime64]
    """(T,) naive UTC datetime64[us], one bar apart."""
    asset_ids: tuple[str, ...]
    """N keys such as ``bybit:linear:BTCUSDT``."""
    features: tuple[str, ...]
    """F names, columns of ``features.panel_rows``."""
    feature_TNF: NDArray[np.float32]
    """(T, N, F); NaN where the asset has no fresh candle at t, or too little warm-up."""
    trade_price_TN: NDArray[np.float64]
    """(T, N) close of the candle with closed_at in (t - bar, t]; NaN where there is none (not tradable)."""
    mark_price_TN: NDArray[np.float64]
    """(T, N) newest known close, carried forward; NaN before the first candle."""
    is_fresh_TN: NDArray[np.bool_]
    """(T, N) a candle closed since the previous row."""
    age_hours_TN: NDArray[np.float32]
    """(T, N) hours since the newest candle closed; NaN before the first."""
    quote_volume_TN: NDArray[np.float64]
    """(T, N) traded value in quote currency of the fresh candle; NaN where not fresh."""
    funding_rate_TN: NDArray[np.float64]
    """(T, N) funding settled in (t - bar, t], fraction of notional paid by longs; NaN where none."""
    content_hash: str
    """Names these values: equal hashes mean equal bits."""
    dividend_TN: NDArray[np.float64] | None = None
    """(T, N) paid for a unit held when an ex-date's session opens in (t - bar, t], quote currency; NaN where none; None where
    no asset pays any."""
    grid: Grid = HOURLY
    """The grid whose rows these are."""

    @property
    def is_tradable_TN(self) -> NDArray[np.bool_]:
        """(T, N) whether a trade could fill at row t."""
        return np.isfinite(self.trade_price_TN)

    @property
    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays named in ``ROW_ARRAYS``; without dividends where no asset pays any."""
        return {name: array for name in ROW_ARRAYS if (array := getattr(self, name)) is not None}

    def cut(self, rows: slice, content_hash: str) -> "Panel":
        """Some neighbouring rows, as views, under ``content_hash``."""
        return replace(self, **{name: array[rows] for name, array in self.row_arrays.items()}, content_hash=content_hash)

    def until(self, stop: int) -> "Panel":
        """The first ``stop`` rows, as views."""
        return self.cut(slice(stop), f"{self.content_hash}[:{stop}]")

    def in_memory(self) -> "Panel":
        """Arrays mapped from a file as plain ones: pickled, mapped ones travel as copies of themselves."""
        return replace(self, **{name: np.ascontiguousarray(array).view(np.ndarray) for name, array in self.row_arrays.items()})

    def row_of(self, as_of: np.datetime64) -> int:
        """Index of the newest row at or before ``as_of``; -1 when the panel starts later."""
        return int(np.searchsorted(self.as_of_T, as_of, side="right")) - 1


ROW_ARRAYS = tuple(field.name for field in fields(Panel) if field.name.rpartition("_")[2] in ("T", "TN", "TNF"))
"""Names of the panel's arrays with one entry a row, in the order of its fields: what a cut, a hash or a rewrite must cover."""
