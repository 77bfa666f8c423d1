"""Calibration: the gain of each part of a forecast, per output, from the validation rows.

    ahead   what the next-bar attention already implies for later bars (a lead of several hours, summed up)
    cross   the part that the output's own heads give
    own     the part that the asset's own past gives

A part that validation does not support is shrunk towards 0, so that a long horizon with few independent outcomes does not
dominate. The gain is the weighted least-squares slope of outcome on part, cut to [0, 1], times the positive-part
James-Stein factor 1 - 1 / z^2, where z counts one observation per non-overlapping horizon. The ahead part is no claim
of its own but follows from the next bar's: its slope is averaged, by precision, with the next bar's gain.

Axes: R validation rows, N assets, O outputs (the next bar first), P parts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR", "Parts", "calibrate", "combine"]

FLOOR = 0.05
"""The smallest gain: the direction stays visible, the size does not matter."""

_PRIOR_SPREAD = 0.1
"""Standard deviation of the ahead part's gain around the next bar's, before any validation row is seen."""


@dataclass(frozen=True)
class Parts:
    """The parts of forecasts, in scaled units; each (R, N, O)."""

    own_RNO: NDArray[np.float32]
    cross_RNO: NDArray[np.float32]
    ahead_RNO: NDArray[np.float32]
    """0 for the next bar itself."""


def combine(parts: Parts, gain_PO: NDArray[np.float32], *, others: bool = True) -> NDArray[np.float32]:
    """(R, N, O) the forecast: gains in the order own, cross, ahead; ``others`` off leaves the own part alone."""
    forecast_RNO = gain_PO[0] * parts.own_RNO
    return forecast_RNO + gain_PO[1] * parts.cross_RNO + gain_PO[2] * parts.ahead_RNO if others else forecast_RNO


def calibrate(
    parts: Parts,
    target_RNO: NDArray[np.float32],
    weight_R: NDArray[np.float32],
    overlap_O: NDArray[np.integer],
    *,
    most: float = 1.0,
) -> NDArray[np.float32]:
    """(3, O) gains of own, cross and ahead.

    Args:
        parts: of the validation rows.
        target_RNO: scaled outcomes; NaN takes no part.
        weight_R: weight of each row.
        overlap_O: bars that neighbouring outcomes share, at least 1.
        most: largest gain; more than 1 only for parts that were never fitted for their size.
    """
    gain_PO = np.full((3, target_RNO.shape[2]), FLOOR, dtype=np.float32)
    weight64_R = weight_R.astype(np.float64)
    for o in range(target_RNO.shape[2]):
        left_RN = target_RNO[:, :, o].astype(np.float64)
        if o > 0:
            slope, error = _slope(parts.ahead_RNO[:, :, o], left_RN, weight64_R, int(overlap_O[o]))
            precision, prior_precision = error**-2 if error > 0 else 0.0, _PRIOR_SPREAD**-2
            average = (precision * slope + prior_precision * gain_PO[1, 0]) / (precision + prior_precision)
            gain_PO[2, o] = np.clip(average, 0.0, most)
            left_RN = left_RN - gain_PO[2, o] * parts.ahead_RNO[:, :, o]
        for p, part_RNO in ((1, parts.cross_RNO), (0, parts.own_RNO)):
            slope, error = _slope(part_RNO[:, :, o], left_RN, weight64_R, int(overlap_O[o]))
            if slope > 0 and error > 0:
                gain_PO[p, o] = max(FLOOR, min(slope, most) * max(0.0, 1.0 - (error / slope) ** 2))
            left_RN = left_RN - gain_PO[p, o] * part_RNO[:, :, o]
    return gain_PO


def _slope(
    part_RN: NDArray[np.float32], outcome_RN: NDArray[np.float64], weight_R: NDArray[np.float64], overlap: int
) -> tuple[float, float]:
    """Least-squares slope of outcome on part and its standard error; (0, 0) where the part is 0."""
    seen_RN = np.isfinite(outcome_RN) & np.isfinite(part_RN)
    weight_RN = weight_R[:, None] * seen_RN
    regressor_RN, outcome_RN = np.where(seen_RN, part_RN, 0.0).astype(np.float64), np.where(seen_RN, outcome_RN, 0.0)
    energy = float((weight_RN * regressor_RN**2).sum())
    if energy <= 1e-12:
        return 0.0, 0.0
    slope = float((weight_RN * regressor_RN * outcome_RN).sum()) / energy
    # Overlapping outcomes count once a horizon; assets of one row move together, so a row's products are summed first.
    score_R = (weight_RN * regressor_RN * (outcome_RN - slope * regressor_RN)).sum(axis=1)
    return slope, float(np.sqrt((score_R**2).sum() * overlap)) / energy
