"""Labels: what is forecast. The one module of crossattn that looks ahead.

Axes: T bars of the panel, N assets, H horizons.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import LabelSettings
from crossattn_core.grid import HOURLY
from crossattn_core.panel.panel import Panel

__all__ = ["Labels", "compute_labels", "next_bar_labels"]


@dataclass(frozen=True)
class Labels:
    """Log returns to come, each with the row at which it became known."""

    value_TNH: NDArray[np.float32]
    """(T, N, H) log return over the horizon, fraction; NaN where there is none."""
    end_TNH: NDArray[np.int32]
    """(T, N, H) row of the exit: the label is known from that row on; -1 where the label is NaN."""

    def known_at(self, cut_off: int) -> NDArray[np.float32]:
        """(T, N, H) the values whose exit lies at or before row ``cut_off``, NaN elsewhere."""
        return np.where((self.end_TNH >= 0) & (self.end_TNH <= cut_off), self.value_TNH, np.float32(np.nan))

    def since(self, first_N: NDArray[np.integer]) -> "Labels":
        """The same without each asset's labels of rows before ``first_N``."""
        is_kept_TN1 = (np.arange(len(self.value_TNH))[:, None] >= first_N)[..., None]
        value_TNH = np.where(is_kept_TN1, self.value_TNH, np.float32(np.nan))
        return Labels(value_TNH, np.where(is_kept_TN1, self.end_TNH, np.int32(-1)))


def compute_labels(panel: Panel | NDArray[np.float64], settings: LabelSettings) -> Labels:
    """Label every row: log(trade_price[exit] / trade_price[fill]) for each horizon.

    The fill row is ``t + execution_lag``; the exit is the first tradable row at or after fill + horizon, at most
    ``max_exit_delay_hours`` later. NaN when the fill row is not tradable or no exit exists (yet).

    Args:
        panel: the panel, or trade prices (T, N) of the hourly grid alone, NaN where not tradable.

    >>> settings = LabelSettings(horizons=(1, 2), trade_horizon=2, execution_lag=1, max_exit_delay_hours=1)
    >>> labels = compute_labels(np.array([[1.0], [1.0], [2.0], [np.nan], [4.0]]), settings)
    >>> labels.end_TNH[:, 0].tolist()  # row 1 fills at 2, its exit at 3 is closed: 4 serves both horizons
    [[2, 4], [4, 4], [-1, -1], [-1, -1], [-1, -1]]
    >>> np.exp(labels.value_TNH[1, 0]).round(6).tolist()
    [2.0, 2.0]
    """
    price_TN, grid = (panel.trade_price_TN, panel.grid) if isinstance(panel, Panel) else (panel, HOURLY)
    longest_wait = grid.bars(settings.max_exit_delay_hours)
    bars, assets = price_TN.shape
    tradable_TN = np.isfinite(price_TN)
    log_price_TN = np.log(np.where(tradable_TN, price_TN, 1.0))
    # next_TN[t] is the first tradable row at or after t; the value `bars` stands for "none".
    rows_T1 = np.arange(bars, dtype=np.int64)[:, None]
    next_TN = np.where(tradable_TN, rows_T1, bars)
    next_TN = np.minimum.accumulate(next_TN[::-1], axis=0)[::-1] if bars else next_TN

    value_TNH = np.full((bars, assets, len(settings.horizons)), np.nan, dtype=np.float32)
    end_TNH = np.full(value_TNH.shape, -1, dtype=np.int32)
    for h, horizon in enumerate(settings.horizons):
        last = bars - settings.execution_lag - horizon
        if last <= 0:
            continue
        fill = slice(settings.execution_lag, settings.execution_lag + last)
        due = settings.execution_lag + horizon
        exit_TN = next_TN[due : due + last]
        waited_TN = exit_TN - (rows_T1[:last] + due)
        valid_TN = tradable_TN[fill] & (exit_TN < bars) & (waited_TN <= longest_wait)
        exit_log_TN = np.take_along_axis(log_price_TN, np.minimum(exit_TN, bars - 1), axis=0)
        value_TNH[:last, :, h] = np.where(valid_TN, exit_log_TN - log_price_TN[fill], np.nan)
        end_TNH[:last, :, h] = np.where(valid_TN, exit_TN, -1)
    return Labels(value_TNH, end_TNH)


def next_bar_labels(panel: Panel) -> Labels:
    """Label every row with the very next bar, close to close: log(trade_price[t + 1] / mark_price[t]), H = 1.

    Not tradable (the fill would be the decision's own close), so no weight may rest on it; but a leader that is
    one bar ahead shows nowhere else. NaN when the asset has no candle at t + 1 or no price yet at t.
    """
    trade_TN, mark_TN = panel.trade_price_TN, panel.mark_price_TN
    value_TNH = np.full((*trade_TN.shape, 1), np.nan, dtype=np.float32)
    end_TNH = np.full(value_TNH.shape, -1, dtype=np.int32)
    if len(trade_TN) > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            value_TNH[:-1, :, 0] = np.log(trade_TN[1:] / mark_TN[:-1])
        value_TNH[~np.isfinite(value_TNH)] = np.nan
        rows_T1 = np.arange(1, len(trade_TN), dtype=np.int32)[:, None]
        end_TNH[:-1, :, 0] = np.where(np.isfinite(value_TNH[:-1, :, 0]), rows_T1, -1)
    return Labels(value_TNH, end_TNH)
