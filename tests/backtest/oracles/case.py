"""A small market and targets in plain numpy, so that other engines' environments can make it too."""

import numpy as np

ROWS, ASSETS, EVERY, COST, CAPITAL = 240, 3, 24, 1e-3, 100_000.0


def prices() -> np.ndarray:
    """(T, N) closes of an hour."""
    draw = np.random.default_rng(123)
    return 100.0 * np.exp(np.cumsum(0.01 * draw.standard_normal((ROWS, ASSETS)), axis=0))


def fills() -> np.ndarray:
    """(K,) rows at which targets are traded to, at the row's close."""
    return np.arange(1, ROWS, EVERY)


def weights() -> np.ndarray:
    """(K, N) shares of equity; a tenth stays in cash, so that fees never meet an empty purse."""
    draw = np.random.default_rng(321)
    weight_KN = np.abs(draw.standard_normal((len(fills()), ASSETS)))
    return 0.9 * weight_KN / weight_KN.sum(axis=1, keepdims=True)


def times() -> np.ndarray:
    """(T,) closes of the hours."""
    return np.datetime64("2024-01-01T01:00", "ns") + np.arange(ROWS) * np.timedelta64(1, "h")
