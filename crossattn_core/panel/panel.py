"""The panel: what every model, regime and backtest reads. Time x asset x feature, with masks.

Axes: T bars of the hourly UTC grid (as_of), N assets in universe order, F features in experiment order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Panel"]


@dataclass(frozen=True)
class Panel:
    """Aligned arrays; row t holds only what was known at ``as_of_T[t]``.

    Arrays are read-only and may be memory-mapped. Rows are every hour, without holes.
    """

    as_of_T: NDArray[np.datetime64]
    """(T,) naive UTC datetime64[us], one hour apart."""
    asset_ids: tuple[str, ...]
    """N keys such as ``bybit:linear:BTCUSDT``."""
    features: tuple[str, ...]
    """F names, columns of ``features.panel_rows``."""
    feature_TNF: NDArray[np.float32]
    """(T, N, F); NaN where the asset has no fresh candle at t, or too little warm-up."""
    trade_price_TN: NDArray[np.float64]
    """(T, N) close of the candle with closed_at in (t - 1 h, t]; NaN where there is none (not tradable)."""
    mark_price_TN: NDArray[np.float64]
    """(T, N) newest known close, carried forward; NaN before the first candle."""
    is_fresh_TN: NDArray[np.bool_]
    """(T, N) a candle closed since the previous row."""
    age_hours_TN: NDArray[np.float32]
    """(T, N) hours since the newest candle closed; NaN before the first."""
    quote_volume_TN: NDArray[np.float64]
    """(T, N) traded value in quote currency of the fresh candle; NaN where not fresh."""
    funding_rate_TN: NDArray[np.float64]
    """(T, N) funding settled in (t - 1 h, t], fraction of notional paid by longs; NaN where none."""
    content_hash: str
    """Names these values: equal hashes mean equal bits."""
    dividend_TN: NDArray[np.float64] | None = None
    """(T, N) paid for a unit held when an ex-date's session opens in (t - 1 h, t], quote currency; NaN where none; None where
    no asset pays any."""

    @property
    def is_tradable_TN(self) -> NDArray[np.bool_]:
        """(T, N) whether a trade could fill at row t."""
        return np.isfinite(self.trade_price_TN)

    def until(self, stop: int) -> "Panel":
        """The first ``stop`` rows, as views."""
        return Panel(
            as_of_T=self.as_of_T[:stop],
            asset_ids=self.asset_ids,
            features=self.features,
            feature_TNF=self.feature_TNF[:stop],
            trade_price_TN=self.trade_price_TN[:stop],
            mark_price_TN=self.mark_price_TN[:stop],
            is_fresh_TN=self.is_fresh_TN[:stop],
            age_hours_TN=self.age_hours_TN[:stop],
            quote_volume_TN=self.quote_volume_TN[:stop],
            funding_rate_TN=self.funding_rate_TN[:stop],
            dividend_TN=None if self.dividend_TN is None else self.dividend_TN[:stop],
            content_hash=f"{self.content_hash}[:{stop}]",
        )

    def row_of(self, as_of: np.datetime64) -> int:
        """Index of the newest row at or before ``as_of``; -1 when the panel starts later."""
        return int(np.searchsorted(self.as_of_T, as_of, side="right")) - 1
