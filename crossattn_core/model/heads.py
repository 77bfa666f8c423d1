"""What a network's raw outputs mean: returns, directions, or weights.

returns     one number an output: the forecast itself, in units of the label's own volatility
direction   three logits an output: down, neutral, up; neutral is a band around zero in the same units, so it widens
            with volatility
weights     one score an asset: shares of equity, long-only by softmax or long and short by tanh, gross 1

Axes: B decision rows, N assets, O outputs, C classes, R raw numbers an asset.
"""

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["DIRECTIONS", "Head", "WeightShape", "direction_classes", "expected_move", "portfolio_weights", "raw_outputs"]

Head = Literal["returns", "direction", "weights"]
WeightShape = Literal["softmax", "tanh"]

DIRECTIONS = ("down", "neutral", "up")
"""Classes in the order of the logits."""


def raw_outputs(head: Head, outputs: int) -> int:
    """R, the numbers that a network gives an asset.

    >>> [raw_outputs(head, 3) for head in ("returns", "direction", "weights")]
    [3, 9, 1]
    """
    return {"returns": outputs, "direction": outputs * len(DIRECTIONS), "weights": 1}[head]


def direction_classes(scaled: Tensor, band: float) -> Tensor:
    """The class of each outcome, as int64 of the same shape; -1 where there is no outcome (NaN).

    Args:
        scaled: outcomes in units of the label's own, trailing-volatility-scaled deviation.
        band: largest size of a neutral outcome, in the same units.

    >>> direction_classes(torch.tensor([-1.0, 0.2, 0.5, float("nan")]), 0.4).tolist()
    [0, 1, 2, -1]
    """
    classes = 1 + (scaled > band).long() - (scaled < -band).long()
    return torch.where(torch.isfinite(scaled), classes, -1)


def expected_move(raw_BNR: Tensor, prior_OC: Tensor, mean_OC: Tensor) -> Tensor:
    """(B, N, O) the mean outcome under the class probabilities, in scaled units.

    Trained on balanced classes, the logits take every class for equally common: the training shares of the
    classes are put back before averaging.

    Args:
        raw_BNR: logits, the classes of each output side by side.
        prior_OC: share of each class among the training outcomes.
        mean_OC: mean training outcome of each class, scaled.
    """
    logit_BNOC = raw_BNR.unflatten(-1, (-1, len(DIRECTIONS)))
    # A class that training never saw keeps no probability, and no infinity.
    share_BNOC = (logit_BNOC + prior_OC.clamp_min(1e-12).log()).softmax(dim=-1)
    return (share_BNOC * mean_OC).sum(dim=-1)


def portfolio_weights(score_BN: Tensor, readable_BN: Tensor, shape: WeightShape) -> Tensor:
    """(B, N) shares of equity with a gross exposure of 1; an unreadable asset gets 0, and so does a row without any.

    softmax: long-only, exp(score) over its sum. tanh: tanh(score) over the sum of its sizes, long and short; scores
    that are all 0 hold nothing.
    """
    if shape == "softmax":
        return nn.functional.softmax(score_BN.masked_fill(~readable_BN, -1e9), dim=-1) * readable_BN
    signed_BN = torch.tanh(score_BN) * readable_BN
    return signed_BN / signed_BN.abs().sum(dim=-1, keepdim=True).clamp_min(1e-6)
