"""Calibration: a part that validation supports keeps its size, one that it does not goes towards 0."""

import numpy as np
import pytest

from crossattn_core.training.calibration import FLOOR, Parts, calibrate, combine

ROWS, ASSETS = 1500, 4


def parts_and_outcomes(strength: float, seed: int = 0) -> tuple[Parts, np.ndarray]:
    rng = np.random.default_rng(seed)
    cross_RNO = rng.standard_normal((ROWS, ASSETS, 1)).astype(np.float32)
    own_RNO = rng.standard_normal((ROWS, ASSETS, 1)).astype(np.float32)
    target_RNO = (strength * cross_RNO + rng.standard_normal((ROWS, ASSETS, 1))).astype(np.float32)
    return Parts(own_RNO, cross_RNO, np.zeros_like(own_RNO)), target_RNO


def gains(parts: Parts, target_RNO: np.ndarray, overlap: int = 1) -> np.ndarray:
    return calibrate(parts, target_RNO, np.ones(ROWS, np.float32), np.full(target_RNO.shape[2], overlap))


def test_a_part_that_is_right_keeps_its_size_and_one_of_noise_does_not() -> None:
    parts, target_RNO = parts_and_outcomes(strength=1.0)
    own, cross, _ = gains(parts, target_RNO)[:, 0]
    assert cross == pytest.approx(1.0, abs=0.05)
    assert own < 0.1


def test_a_part_that_is_too_large_is_scaled_down_to_its_slope() -> None:
    parts, target_RNO = parts_and_outcomes(strength=0.3)
    assert gains(parts, target_RNO)[1, 0] == pytest.approx(0.3, abs=0.05)


def test_a_part_that_points_the_wrong_way_is_never_turned_around() -> None:
    parts, target_RNO = parts_and_outcomes(strength=-1.0)
    assert gains(parts, target_RNO)[1, 0] == np.float32(FLOOR)


def test_overlapping_outcomes_count_for_less() -> None:
    parts, target_RNO = parts_and_outcomes(strength=0.1, seed=1)
    assert gains(parts, target_RNO, overlap=24)[1, 0] < gains(parts, target_RNO)[1, 0]


def test_missing_outcomes_take_no_part() -> None:
    parts, target_RNO = parts_and_outcomes(strength=1.0)
    target_RNO[::2] = np.nan
    wild = Parts(parts.own_RNO, parts.cross_RNO.copy(), parts.ahead_RNO)
    wild.cross_RNO[::2] = 1e6
    np.testing.assert_array_equal(gains(wild, target_RNO), gains(parts, target_RNO))


def test_the_gain_of_the_ahead_part_starts_from_the_next_bars() -> None:
    parts, target_RNO = parts_and_outcomes(strength=0.8)
    rng = np.random.default_rng(3)
    ahead_RNO = np.concatenate([np.zeros_like(target_RNO), rng.standard_normal(target_RNO.shape).astype(np.float32)], axis=2)
    two = Parts(np.repeat(parts.own_RNO, 2, axis=2), np.repeat(parts.cross_RNO, 2, axis=2), ahead_RNO)
    unknown_RNO = np.concatenate([target_RNO, np.full_like(target_RNO, np.nan)], axis=2)
    gain_PO = gains(two, unknown_RNO)
    assert gain_PO[2, 1] == pytest.approx(gain_PO[1, 0])


def test_leaving_the_others_out_leaves_the_own_part() -> None:
    parts, target_RNO = parts_and_outcomes(strength=1.0)
    gain_PO = gains(parts, target_RNO)
    np.testing.assert_allclose(combine(parts, gain_PO, others=False), gain_PO[0] * parts.own_RNO)
