"""The self-financing equation: equity after a trade, when the trade is sized by that equity.

V+ = V - sum_n c_n |w_n V+ - h_n|. With V = 1 and x = V+: f(x) = x - 1 + sum c |w x - h| is convex, piecewise linear and
increasing while sum c |w| < 1, so Newton's steps from x = 1 fall onto the root, exactly, in a few strides.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError

__all__ = ["equity_share_after_trade"]

_MOST_STEPS = 100


def equity_share_after_trade(
    target: NDArray[np.float64], held: NDArray[np.float64], cost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """V+ / V over the leading axes; the last axis is assets.

    Args:
        target: (..., N) weights wanted as shares of V+.
        held: (..., N) weights before the trade as shares of V.
        cost: (..., N) one-way cost per unit of traded notional; 0 for what is not traded.

    Raises:
        BacktestError: costs of the wanted position exceed equity, so that no V+ exists.
    """
    heaviest = float((cost * np.abs(target)).sum(axis=-1).max(initial=0.0))
    if heaviest >= 1:
        raise BacktestError(
            f"trading to the target costs {heaviest:.0%} of the equity it is a share of; lower the weights or the costs"
        )
    share = np.ones(np.broadcast_shapes(target.shape, held.shape)[:-1])
    for _ in range(_MOST_STEPS):
        move = target * share[..., None] - held
        excess = share - 1.0 + (cost * np.abs(move)).sum(axis=-1)
        slope = 1.0 + (cost * target * np.sign(move)).sum(axis=-1)
        step = excess / slope
        share = share - step
        if np.abs(step).max(initial=0.0) <= 4e-16:
            break
    return share
