"""Losses: on volatility-scaled labels, on directions, on ranks, on what weights earn; and a penalty on collapsed attention.

Axes: B decision rows, N assets, M sources, L lags, H heads, O outputs, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["collapse_penalty", "direction_loss", "rank_loss", "regression_loss", "sharpe_loss"]


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


def direction_loss(
    logit_BNOC: Tensor, class_BNO: Tensor, weight_B: Tensor, output_weight_O: Tensor, class_weight_OC: Tensor
) -> Tensor:
    """Cross-entropy of down / neutral / up, each class of an output weighing the same in all.

    Args:
        class_BNO: the class that came, -1 where there is no outcome: it takes no part.
        class_weight_OC: 1 / (C * training share of the class), so that rare classes are not given up.
    """
    exists_BNO = class_BNO >= 0
    # By comparison: the gradient of `gather` asks a GPU for the largest index.
    is_class_BNOC = class_BNO.clamp_min(0)[..., None] == torch.arange(logit_BNOC.shape[-1], device=class_BNO.device)
    cost_BNO = -logit_BNOC.log_softmax(dim=-1).where(is_class_BNOC, 0.0).sum(dim=-1)
    balance_BNO = class_weight_OC.where(is_class_BNOC, 0.0).sum(dim=-1)
    weight_BNO = exists_BNO * weight_B[:, None, None] * output_weight_O * balance_BNO
    return (cost_BNO * weight_BNO).sum() / weight_BNO.sum().clamp_min(1e-12)


def rank_loss(
    forecast_BNO: Tensor, target_BNO: Tensor, weight_B: Tensor, output_weight_O: Tensor, *, temperature: float
) -> Tensor:
    """Minus the mean cross-sectional rank IC: correlation, over the assets of a row, of forecast ranks and outcome ranks.

    Ranks have no gradient; a forecast's rank is replaced by the number of others that it lies above, each counted by a
    sigmoid of the distance over ``temperature``. With a temperature near 0 this is Spearman's rank correlation. Outcome
    ranks are exact. A row with fewer than two outcomes takes no part.
    """
    exists_BNO = torch.isfinite(target_BNO)
    pair_BNMO = exists_BNO[:, :, None] & exists_BNO[:, None]
    # The rank of an asset among the others that have an outcome, from the pairs it wins; ties win half.
    above_BNMO = torch.sigmoid((forecast_BNO[:, :, None] - forecast_BNO[:, None]) / temperature)
    forecast_rank_BNO = (above_BNMO * pair_BNMO).sum(dim=2)
    known_BNO = target_BNO.nan_to_num()
    wins_BNMO = 0.5 * (1 + torch.sign(known_BNO[:, :, None] - known_BNO[:, None]))
    target_rank_BNO = (wins_BNMO * pair_BNMO).sum(dim=2)
    count_BO = exists_BNO.sum(dim=1)
    correlation_BO = _correlation(forecast_rank_BNO, target_rank_BNO, exists_BNO)
    weight_BO = (count_BO >= 2) * weight_B[:, None] * output_weight_O
    return -(correlation_BO * weight_BO).sum() / weight_BO.sum().clamp_min(1e-12)


def sharpe_loss(
    weight_BN: Tensor, return_BN: Tensor, row_weight_B: Tensor, follows_B: Tensor, *, cost: float, decisions_per_year: float
) -> Tensor:
    """Minus the annualised Sharpe ratio of what the weights earn, net of turnover.

    Each row is one decision held to the next; positions are not drifted in between. A row that continues the one before
    it pays ``cost`` on the change; the first row of a chain pays nothing, since what was held before it is not known.

    Args:
        weight_BN: shares of equity; rows of a chain follow each other.
        return_BN: simple return over the holding period; NaN (not tradable) earns and costs nothing.
        follows_B: whether the row is the decision after the row before it.
        cost: of one unit of turnover, as a fraction.
    """
    held_BN = weight_BN * torch.isfinite(return_BN)
    turnover_B = functional.pad(held_BN.diff(dim=0).abs().sum(dim=1), (1, 0)) * follows_B
    net_B = (held_BN * return_BN.nan_to_num()).sum(dim=1) - cost * turnover_B
    share_B = row_weight_B / row_weight_B.sum().clamp_min(1e-12)
    mean = (share_B * net_B).sum()
    variance = (share_B * (net_B - mean).square()).sum()
    # A portfolio that never moves has no Sharpe ratio; the floor keeps the gradient finite there.
    return -mean / (variance + 1e-12).sqrt() * decisions_per_year**0.5


def collapse_penalty(attention_BHNML: Tensor) -> Tensor:
    """How far attention collapses onto one asset: 1 - entropy over sources / log(number of others), averaged; in [0, 1].

    Lags are summed first: looking at one lag is what a lead looks like, looking at one asset everywhere is a collapse.
    A target without anything readable takes no part.
    """
    mass_BHNM = attention_BHNML.sum(dim=-1)
    others = max(mass_BHNM.shape[-1] - 1, 2)
    entropy_BHN = -(mass_BHNM * mass_BHNM.clamp_min(1e-12).log()).sum(dim=-1)
    reads_BHN = mass_BHNM.sum(dim=-1) > 0.5
    penalty_BHN = (1 - entropy_BHN / torch.tensor(float(others)).log()) * reads_BHN
    return penalty_BHN.sum() / reads_BHN.sum().clamp_min(1)


def _correlation(a_BNO: Tensor, b_BNO: Tensor, exists_BNO: Tensor) -> Tensor:
    """(B, O) Pearson correlation over the assets that exist; 0 where either side does not vary."""
    count_BO = exists_BNO.sum(dim=1).clamp_min(1)

    def centred(value_BNO: Tensor) -> Tensor:
        mean_BO = (value_BNO * exists_BNO).sum(dim=1) / count_BO
        return (value_BNO - mean_BO[:, None]) * exists_BNO

    a_BNO, b_BNO = centred(a_BNO), centred(b_BNO)
    size_BO = (a_BNO.square().sum(dim=1) * b_BNO.square().sum(dim=1) + 1e-12).sqrt()
    return (a_BNO * b_BNO).sum(dim=1) / size_BO
