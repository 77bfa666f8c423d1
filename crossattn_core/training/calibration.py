"""Calibration: how far the network's two parts are believed, per output, judged on the validation rows.

A part that validation does not support is shrunk towards silence, so that a long horizon with few independent outcomes
cannot shout. The gain is the weighted least-squares slope of outcome on part, cut to [0, 1], times the positive-part
James-Stein factor 1 - 1 / z^2, where z counts one observation per non-overlapping horizon.

Axes: R validation rows, N assets, O outputs.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR", "calibrate"]

FLOOR = 0.05
"""The smallest gain: the direction stays visible, the size does not matter."""


def calibrate(
    own_RNO: NDArray[np.float32],
    cross_RNO: NDArray[np.float32],
    target_RNO: NDArray[np.float32],
    weight_R: NDArray[np.float32],
    overlap_O: NDArray[np.integer],
) -> NDArray[np.float32]:
    """(2, O) gains of the own and the cross part.

    Args:
        own_RNO: own part, scaled units.
        cross_RNO: cross part, scaled units.
        target_RNO: scaled outcomes; NaN takes no part.
        weight_R: weight of each row.
        overlap_O: bars that neighbouring outcomes share, at least 1.
    """
    gain_PO = np.zeros((2, target_RNO.shape[2]), dtype=np.float32)
    for o in range(target_RNO.shape[2]):
        left_RN = target_RNO[:, :, o].astype(np.float64)
        # The cross part first: it is the claim under test, and the own part is judged on what it leaves.
        for p, part_RN in ((1, cross_RNO[:, :, o]), (0, own_RNO[:, :, o])):
            gain = _gain(part_RN.astype(np.float64), left_RN, weight_R.astype(np.float64), int(overlap_O[o]))
            gain_PO[p, o] = gain
            left_RN = left_RN - gain * part_RN
    return gain_PO


def _gain(part_RN: NDArray[np.float64], outcome_RN: NDArray[np.float64], weight_R: NDArray[np.float64], overlap: int) -> float:
    seen_RN = np.isfinite(outcome_RN) & np.isfinite(part_RN)
    weight_RN = weight_R[:, None] * seen_RN
    part_RN, outcome_RN = np.where(seen_RN, part_RN, 0.0), np.where(seen_RN, outcome_RN, 0.0)
    energy = float((weight_RN * part_RN**2).sum())
    if energy <= 1e-12:
        return FLOOR
    slope = float((weight_RN * part_RN * outcome_RN).sum()) / energy
    # One horizon's overlapping outcomes are one observation; assets at one row move together, so a row's products are
    # summed before their spread is taken.
    score_R = (weight_RN * part_RN * (outcome_RN - slope * part_RN)).sum(axis=1)
    error = float(np.sqrt((score_R**2).sum() * overlap)) / energy
    if slope <= 0 or error <= 0:
        return FLOOR
    z = slope / error
    return float(max(FLOOR, min(slope, 1.0) * max(0.0, 1.0 - 1.0 / z**2)))
