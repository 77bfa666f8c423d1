"""Losses on volatility-scaled labels.

Axes: B decision rows, N assets, O outputs.
"""

import torch
from torch import Tensor

__all__ = ["regression_loss"]


def regression_loss(
    forecast_BNO: Tensor, target_BNO: Tensor, weight_B: Tensor, output_weight_O: Tensor, *, huber: bool
) -> Tensor:
    """Mean squared (or Huber) error over the labels that exist, rows and outputs weighted.

    A NaN target takes no part. No label at all gives 0.
    """
    exists_BNO = torch.isfinite(target_BNO)
    error_BNO = forecast_BNO - torch.where(exists_BNO, target_BNO, forecast_BNO.detach())
    if huber:
        size_BNO = error_BNO.abs()
        cost_BNO = torch.where(size_BNO < 1, 0.5 * error_BNO.square(), size_BNO - 0.5)
    else:
        cost_BNO = error_BNO.square()
    weight_BNO = exists_BNO * weight_B[:, None, None] * output_weight_O
    return (cost_BNO * weight_BNO).sum() / weight_BNO.sum().clamp_min(1e-12)
