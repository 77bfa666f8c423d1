"""What a fit minimises: the loss that ``training.loss`` names, on a network's raw outputs, for training and validation alike.

Axes: B decision rows, T bars, N assets, O outputs, R raw numbers an asset (see model/heads.py), C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from crossattn_core.experiment import LabelSettings, ModelSettings, TrainingSettings
from crossattn_core.model.heads import DIRECTIONS, direction_classes, portfolio_weights
from crossattn_core.training.loss import direction_loss, rank_loss, regression_loss, sharpe_loss

__all__ = ["ClassFacts", "Objective", "class_facts"]


@dataclass(frozen=True)
class ClassFacts:
    """Direction classes among the training outcomes."""

    prior_OC: Tensor
    """Share of each class."""
    mean_OC: Tensor
    """Mean outcome of each class, scaled."""

    @property
    def weight_OC(self) -> Tensor:
        """Weights under which every class that occurs counts the same; 1 on average."""
        return 1 / (len(DIRECTIONS) * self.prior_OC.clamp_min(1e-3))


@dataclass(frozen=True)
class Objective:
    """One loss, and what it is measured against."""

    settings: TrainingSettings
    model: ModelSettings
    labels: LabelSettings
    output_weight_O: Tensor
    classes: ClassFacts
    bars_per_year: int

    @property
    def step(self) -> int:
        """Bars between the rows that a batch draws together: decisions follow each other where turnover is priced."""
        return self.labels.trade_horizon if self.settings.loss == "sharpe" else 1

    def loss(self, raw_BNR: Tensor, target_BNO: Tensor, weight_B: Tensor, row_B: Tensor, readable_BN: Tensor) -> Tensor:
        """The loss of raw outputs at the rows ``row_B``.

        Args:
            target_BNO: outcomes, NaN where there is none: scaled labels; with 'sharpe' the simple return over the trade
                horizon as the only output.
            row_B: panel rows; which of them follow each other decides what turnover costs.
            readable_BN: which assets can be held.
        """
        settings = self.settings
        match settings.loss:
            case "mse" | "huber":
                return regression_loss(raw_BNR, target_BNO, weight_B, self.output_weight_O, huber=settings.loss == "huber")
            case "rank_ic":
                return rank_loss(raw_BNR, target_BNO, weight_B, self.output_weight_O, temperature=settings.rank_temperature)
            case "cross_entropy":
                class_BNO = direction_classes(target_BNO, self.model.neutral_band)
                logit_BNOC = raw_BNR.unflatten(-1, (-1, len(DIRECTIONS)))
                return direction_loss(logit_BNOC, class_BNO, weight_B, self.output_weight_O, self.classes.weight_OC)
            case "sharpe":
                weight_BN = portfolio_weights(raw_BNR[..., 0], readable_BN, self.model.weight_shape)
                follows_B = torch.cat([torch.zeros_like(row_B[:1]), row_B.diff()]) == self.step
                return sharpe_loss(
                    weight_BN,
                    target_BNO[..., 0],
                    weight_B,
                    follows_B,
                    cost=settings.turnover_cost_bps / 1e4,
                    decisions_per_year=self.bars_per_year / self.step,
                )

    def to(self, device: torch.device) -> "Objective":
        """The same on another device."""
        classes = ClassFacts(self.classes.prior_OC.to(device), self.classes.mean_OC.to(device))
        return Objective(self.settings, self.model, self.labels, self.output_weight_O.to(device), classes, self.bars_per_year)


def class_facts(target_RNO: Tensor, band: float) -> ClassFacts:
    """Shares and means of the classes of training outcomes, assets pooled; a class that never came has both at 0."""
    class_RNO = direction_classes(target_RNO, band)
    member_RNOC = torch.stack([class_RNO == c for c in range(len(DIRECTIONS))], dim=-1)
    count_OC = member_RNOC.sum(dim=(0, 1))
    summed_OC = (target_RNO.nan_to_num()[..., None] * member_RNOC).sum(dim=(0, 1))
    prior_OC = count_OC / count_OC.sum(dim=-1, keepdim=True).clamp_min(1)
    return ClassFacts(prior_OC.float(), (summed_OC / count_OC.clamp_min(1)).float())
