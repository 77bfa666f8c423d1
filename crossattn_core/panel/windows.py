"""Windows by index: a scaled panel stays in memory once, a batch gathers the bars it needs.

Axes: B decision rows, T bars, L bars of a window, N assets, F features, C channels (F features and the fresh flag).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossattn_core.panel.panel import Panel

__all__ = ["Scaler", "WindowBatch", "Windows", "fit_scaler", "hourly_log_returns", "hourly_volatility"]

_CLIP = 6.0
"""Deviations beyond which a scaled feature is cut: one bad candle must not own a batch."""


@dataclass(frozen=True)
class Scaler:
    """What a feature is divided by; fitted on training bars only and kept in the checkpoint."""

    mean_NF: NDArray[np.float32]
    deviation_NF: NDArray[np.float32]

    def apply(self, feature_TNF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred, divided, cut at a few deviations; NaN (no fresh candle) becomes 0."""
        scaled_TNF = (feature_TNF - self.mean_NF) / self.deviation_NF
        return np.clip(np.nan_to_num(scaled_TNF, nan=0.0, posinf=_CLIP, neginf=-_CLIP), -_CLIP, _CLIP).astype(np.float32)


def fit_scaler(panel: Panel, first: int, last: int) -> Scaler:
    """Mean and deviation per asset and feature over the bars ``first..last``.

    An asset or feature without two finite bars there gets mean 0 and deviation 1: it is masked anyway.
    """
    feature_TNF = np.asarray(panel.feature_TNF[first : last + 1], dtype=np.float64)
    seen_TNF = np.isfinite(feature_TNF)
    count_NF = seen_TNF.sum(axis=0)
    filled_TNF = np.where(seen_TNF, feature_TNF, 0.0)
    mean_NF = filled_TNF.sum(axis=0) / np.maximum(count_NF, 1)
    variance_NF = (np.where(seen_TNF, feature_TNF - mean_NF, 0.0) ** 2).sum(axis=0) / np.maximum(count_NF, 1)
    deviation_NF = np.sqrt(variance_NF)
    usable_NF = (count_NF > 1) & (deviation_NF > 1e-12)
    return Scaler(
        np.where(usable_NF, mean_NF, 0.0).astype(np.float32), np.where(usable_NF, deviation_NF, 1.0).astype(np.float32)
    )


@dataclass(frozen=True)
class WindowBatch:
    """What the network reads for B decision rows."""

    bar_BLNC: Tensor
    """Scaled features and the fresh flag, oldest bar first; zero where the asset was silent."""
    readable_BN: Tensor
    """Whether the asset's newest candle is young enough to be read at the decision row."""

    @property
    def fresh_BLN(self) -> Tensor:
        """Whether the asset had a candle at the bar."""
        return self.bar_BLNC[..., -1] > 0.5


class Windows:
    """The bars ``first..last`` of a panel, scaled and resident; rows are panel rows.

    Bars before the panel's first are silent.
    """

    def __init__(
        self, panel: Panel, scaler: Scaler, *, lookback: int, max_age_hours: float, first: int = 0, last: int | None = None
    ) -> None:
        last = len(panel.as_of_T) - 1 if last is None else last
        start = max(first - lookback + 1, 0)
        padding = max(lookback - 1 - first, 0)
        self._lookback = lookback
        self._origin = start - padding
        self._last = last
        feature_TNF = np.asarray(panel.feature_TNF[start : last + 1])
        fresh_TN = np.asarray(panel.is_fresh_TN[start : last + 1]) & np.isfinite(feature_TNF).any(axis=-1)
        bar_TNC = np.zeros((padding + len(fresh_TN), fresh_TN.shape[1], len(panel.features) + 1), dtype=np.float32)
        bar_TNC[padding:, :, :-1] = scaler.apply(feature_TNF)
        # The whole bar is silent or none of it: a stale asset must not speak through one carried feature.
        bar_TNC[padding:, :, :-1] *= fresh_TN[..., None]
        bar_TNC[padding:, :, -1] = fresh_TN
        age_TN = np.full(bar_TNC.shape[:2], np.nan, dtype=np.float32)
        age_TN[padding:] = panel.age_hours_TN[start : last + 1]
        self.bar_TNC = torch.from_numpy(bar_TNC)
        with np.errstate(invalid="ignore"):
            self.readable_TN = torch.from_numpy(age_TN <= max_age_hours)
        self._offset_L = torch.arange(-lookback + 1, 1)

    def to(self, device: torch.device) -> "Windows":
        """Move the resident bars to ``device``; returns self."""
        self.bar_TNC = self.bar_TNC.to(device)
        self.readable_TN = self.readable_TN.to(device)
        self._offset_L = self._offset_L.to(device)
        return self

    def gather(self, row_B: Tensor) -> WindowBatch:
        """The windows that end at ``row_B`` (panel rows, each bar at or before its row)."""
        place_B = row_B - self._origin
        return WindowBatch(self.bar_TNC[place_B[:, None] + self._offset_L], self.readable_TN[place_B])


def hourly_log_returns(panel: Panel) -> NDArray[np.float64]:
    """(T, N) log return from the previous known close to this bar's; 0 where no candle closed."""
    log_TN = np.log(np.asarray(panel.mark_price_TN, dtype=np.float64))
    return_TN = np.zeros_like(log_TN)
    return_TN[1:] = log_TN[1:] - log_TN[:-1]
    return np.where(np.isfinite(return_TN) & np.asarray(panel.is_fresh_TN), return_TN, 0.0)


def hourly_volatility(panel: Panel, span: int = 168) -> NDArray[np.float64]:
    """(T, N) root mean square of the fresh hourly log returns of the trailing ``span`` bars; NaN before the first.

    Causal: row t reads bars t - span + 1 .. t.
    """
    return_TN = hourly_log_returns(panel)
    fresh_TN = np.asarray(panel.is_fresh_TN).astype(np.float64)
    # Differences of running sums cancel when one huge return leaves the window; a floor keeps the root real.
    sum_TN = _trailing_sum(return_TN**2, span)
    count_TN = _trailing_sum(fresh_TN, span)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count_TN >= 1, np.sqrt(np.maximum(sum_TN, 0.0) / count_TN), np.nan)


def _trailing_sum(value_TN: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    # Blocks of `span` bars, summed from each block's own start: no sum ever spans more than two blocks, so a
    # prefix of the panel gives the same bits and old bars leave no residue.
    bars, assets = value_TN.shape
    padded = -(-bars // span) * span
    block_GSN = np.zeros((padded, assets))
    block_GSN[:bars] = value_TN
    block_GSN = block_GSN.reshape(-1, span, assets)
    ahead_GSN = np.cumsum(block_GSN, axis=1)
    behind_GSN = np.cumsum(block_GSN[:, ::-1], axis=1)[:, ::-1]
    trailing_GSN = ahead_GSN.copy()
    # Row s of a block still holds rows s + 1 .. of the block before.
    trailing_GSN[1:, :-1] += behind_GSN[:-1, 1:]
    return trailing_GSN.reshape(-1, assets)[:bars]
