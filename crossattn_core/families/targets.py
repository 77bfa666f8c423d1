"""Targets: labels in units of their own volatility, and the way back to returns.

Axes: T bars, R rows, N assets, O outputs (the next bar, then each horizon).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import LabelSettings
from crossattn_core.panel.labels import Labels, compute_labels, next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import trailing_volatility

__all__ = ["NEXT_BAR", "TargetScaler", "fit_target_scaler", "output_labels", "output_names"]

NEXT_BAR = "next_bar"
_CLIP = 5.0
"""Scaled labels are cut here: one crash bar must not own the fit."""


@dataclass(frozen=True)
class TargetScaler:
    """Typical size of each label, moved along with trailing volatility."""

    deviation_NO: NDArray[np.float32]
    """Root mean square of the training labels."""
    volatility_N: NDArray[np.float32]
    """Mean trailing volatility of the training rows."""

    def unit_RNO(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """(R, N, O) log return that one scaled unit is worth at each row; uses bars up to the row only."""
        if not len(rows):
            return np.zeros((0, *self.deviation_NO.shape), dtype=np.float32)
        first, last = int(np.min(rows)), int(np.max(rows))
        volatility_RN = trailing_volatility(panel, first=first, last=last)[np.asarray(rows) - first]
        ratio_RN = np.clip(np.nan_to_num(volatility_RN / self.volatility_N, nan=1.0), 0.25, 4.0)
        return (ratio_RN[..., None] * self.deviation_NO).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What a checkpoint keeps, by name."""
        return {"target.deviation_NO": self.deviation_NO, "target.volatility_N": self.volatility_N}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "TargetScaler":
        """Rebuild from what ``arrays`` gave."""
        return cls(arrays["target.deviation_NO"], arrays["target.volatility_N"])

    def scaled(self, panel: Panel, value_TNO: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, N, O) labels in scaled units, cut at a few of them; NaN stays NaN."""
        return np.clip(value_TNO / self.unit_RNO(panel, np.arange(len(value_TNO))), -_CLIP, _CLIP)


def output_names(settings: LabelSettings) -> tuple[str, ...]:
    """The outputs in order: 'next_bar', then each horizon."""
    return (NEXT_BAR, *(str(horizon) for horizon in settings.horizons))


def output_labels(panel: Panel, settings: LabelSettings) -> Labels:
    """Labels of every output, in the order of ``output_names``."""
    following, ahead = next_bar_labels(panel), compute_labels(panel, settings)
    return Labels(
        np.concatenate([following.value_TNH, ahead.value_TNH], axis=2),
        np.concatenate([following.end_TNH, ahead.end_TNH], axis=2),
    )


def fit_target_scaler(panel: Panel, known_TNO: NDArray[np.float32], row_R: NDArray[np.int64]) -> TargetScaler:
    """Fit on the labels that the training rows may know; an asset without any gets the smallest usable unit."""
    value_RNO = known_TNO[row_R].astype(np.float64)
    seen_RNO = np.isfinite(value_RNO)
    square_NO = (np.where(seen_RNO, value_RNO, 0.0) ** 2).sum(axis=0)
    deviation_NO = np.sqrt(square_NO / np.maximum(seen_RNO.sum(axis=0), 1))
    volatility_RN = trailing_volatility(panel)[row_R]
    counted_RN = np.isfinite(volatility_RN)
    volatility_N = np.where(counted_RN, volatility_RN, 0.0).sum(axis=0) / np.maximum(counted_RN.sum(axis=0), 1)
    floor = 1e-6
    return TargetScaler(np.maximum(deviation_NO, floor).astype(np.float32), np.maximum(volatility_N, floor).astype(np.float32))
