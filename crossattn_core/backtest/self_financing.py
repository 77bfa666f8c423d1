"""The self-financing equation: equity after a trade, when the trade is sized by that equity.

V+ = V - sum_n c_n |w_n V+ - h_n|. With V = 1 and x = V+: f(x) = x - 1 + sum c |w x - h| is convex, piecewise linear and
increasing while sum c |w| < 1, so Newton's steps from x = 1 fall onto the root in a few strides, mostly two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError

__all__ = ["equity_share_after_impact", "equity_share_after_trade"]

_MAX_STEPS = 100


def equity_share_after_trade(
    target: NDArray[np.float64], held: NDArray[np.float64], cost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """V+ / V over the leading axes; the last axis is assets.

    Args:
        target: (..., N) target weights, shares of V+.
        held: (..., N) weights before the trade as shares of V.
        cost: (..., N) one-way cost per unit of traded notional; 0 for what is not traded.

    Raises:
        BacktestError: costs of the target position exceed equity, so that no V+ exists.
    """
    # What every asset at the largest weight and cost would cost bounds the sum, and mostly settles it without one.
    largest = max(float(np.max(target, initial=0.0)), -float(np.min(target, initial=0.0)))
    if largest * float(np.max(cost, initial=0.0)) * target.shape[-1] >= 1:
        heaviest = float(np.max(_dot(cost, np.abs(target)), initial=0.0))
        if heaviest >= 1:
            raise BacktestError(
                f"trading to the target costs {heaviest:.0%} of the equity it is a share of; lower the weights or the costs"
            )
    shape = np.broadcast_shapes(target.shape, held.shape)
    target_RN, held_RN = (np.broadcast_to(given, shape).reshape(-1, shape[-1]) for given in (target, held))
    cost_RN = cost if cost.ndim == 1 else np.broadcast_to(cost, shape).reshape(-1, shape[-1])
    share = np.ones(shape[:-1])
    share_R = share.reshape(-1)
    row_R = np.arange(len(share_R))
    at_R = share_R
    signed_RN = np.subtract(target_RN, held_RN)
    for step in range(_MAX_STEPS):
        if step:
            np.multiply(target_RN, at_R[:, None], out=signed_RN)
            signed_RN -= held_RN
        # While the signs of the trades hold, f is a line, and its root is exact: x = (1 + sum s h) / (1 + sum s w), s = +-c.
        np.copysign(cost_RN, signed_RN, out=signed_RN)
        to_R = (1.0 + _dot(signed_RN, held_RN)) / (1.0 + _dot(signed_RN, target_RN))
        # A row that has arrived stays: its value must not depend on how long its neighbours take.
        moving_R = np.abs(to_R - at_R) > 4e-16
        share_R[row_R[moving_R]] = to_R[moving_R]
        moving = int(moving_R.sum())
        if not moving:
            break
        at_R = np.where(moving_R, to_R, at_R)
        if 2 * moving < len(row_R):
            # Most rows arrive in one stride: the few others go on alone.
            row_R, at_R, target_RN, held_RN = row_R[moving_R], at_R[moving_R], target_RN[moving_R], held_RN[moving_R]
            cost_RN = cost_RN if cost_RN.ndim == 1 else cost_RN[moving_R]
            signed_RN = np.empty_like(target_RN)
    return share


def equity_share_after_impact(
    target: NDArray[np.float64],
    held: NDArray[np.float64],
    cost: NDArray[np.float64],
    impacts: Sequence[tuple[float, NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """V+ / V where a trade of |w V+ - h| = m V also costs coefficient * m ^ power (shares of V), summed over ``impacts``.

    The excess f is still convex, and f(1) >= 0, but where closing what is held would cost more than there is, it has two roots
    or none: the larger is the trade that costs less, and Newton's steps from 1 fall onto it. 0 where there is none, as nobody
    can pay for the trade: ruin.

    Args:
        impacts: (power > 1, coefficient (..., N)) of each law of impact.
    """

    def paid(size: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum((_dot(coefficient, size**power) for power, coefficient in impacts), _dot(cost, size))

    share = np.ones(np.broadcast_shapes(target.shape, held.shape)[:-1])
    moving = np.ones(share.shape, dtype=bool)
    for _ in range(_MAX_STEPS):
        move = target * share[..., None] - held
        size = np.abs(move)
        excess = share - 1.0 + paid(size)
        marginal = sum((power * coefficient * size ** (power - 1) for power, coefficient in impacts), cost)
        slope = 1.0 + _dot(marginal * np.sign(move), target)
        # A convex f lies above its tangent: one that is positive all the way down to 0 leaves no root.
        ruined = moving & (excess > 0) & (excess >= slope * share)
        share = np.where(ruined, 0.0, share)
        moving &= ~ruined & (slope > 0)
        step = np.divide(excess, slope, out=np.zeros_like(share), where=moving)
        moving &= np.abs(step) > 4e-16
        if not moving.any():
            break
        share = np.where(moving, share - step, share)
    return share


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("...n,...n->...", first, second)
