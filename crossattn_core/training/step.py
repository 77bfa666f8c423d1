"""One training step up to the optimiser: the loss of a batch, and its clipped gradients on the network's parameters.

Axes: B decision rows of a batch, S rows that the own part is trained on, N assets, O outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import TrainingSettings
from crossattn_core.model.network import Network, own_part_at
from crossattn_core.model.stacked import StackedNetwork
from crossattn_core.training.device import Computing
from crossattn_core.training.examples import Batch, Examples
from crossattn_core.training.loss import collapse_penalty

__all__ = ["TrainingStep"]


class TrainingStep:
    """Computes batches one after another; it reads nothing back from the device."""

    def __init__(self, network: Network, examples: Examples, settings: TrainingSettings, computing: Computing) -> None:
        self._network, self._examples, self._settings, self._computing = network, examples, settings, computing
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, detached."""
        with self._computing.products():
            loss = self._loss(batch)
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self._settings.clip_norm)
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        network, examples, settings, row_B = self._network, self._examples, self._settings, batch.row_B
        recent = examples.windows.recent(row_B, batch.recent)
        penalty = torch.zeros((), device=row_B.device)
        if isinstance(network, StackedNetwork):
            raw_BNO, attention_BHNML = network.whole(recent)
            if settings.entropy_weight > 0:
                penalty = settings.entropy_weight * collapse_penalty(attention_BHNML)
            return self._objective(raw_BNO, row_B, recent.readable_BN) + penalty
        if settings.entropy_weight > 0:
            cross_BNO, attention_BHNML = network.cross_part_and_weights(recent)
            penalty = settings.entropy_weight * collapse_penalty(attention_BHNML)
        else:
            cross_BNO = network.cross_part(recent)
        # What weights earn hangs on all of them at once: there the own part is trained on every row.
        stride = 1 if settings.loss == "sharpe" else settings.own_branch_stride
        if stride > 1:
            # Drop-path: the own part is trained on every n-th row only. Its windows hardly change from bar to bar, and the
            # cross part must be right without it.
            own_SNO = own_part_at(network, examples.windows, row_B[::stride]).to(cross_BNO.dtype)
            own_BNO = functional.pad(own_SNO[:, None], (0, 0, 0, 0, 0, stride - 1)).flatten(0, 1)[: len(row_B)]
        else:
            own_BNO = own_part_at(network, examples.windows, row_B)
        return self._objective(own_BNO + cross_BNO, row_B, recent.readable_BN) + penalty

    def _objective(self, raw_BNO: Tensor, row_B: Tensor, readable_BN: Tensor) -> Tensor:
        target_BNO, weight_B = self._examples.train_target_TNO[row_B], self._examples.weight_T[row_B]
        return self._examples.objective.loss(raw_BNO.float(), target_BNO, weight_B, row_B, readable_BN)
