"""The one training loop: every network of crossattn is trained here, by index into resident windows.

Axes: B decision rows of a batch, R rows of a split, T bars, N assets, O outputs.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings
from crossattn_core.model.network import Network, own_part_at
from crossattn_core.progress import silent
from crossattn_core.training.calibration import Parts, calibrate, combine
from crossattn_core.training.cuda_graph import GraphedStep
from crossattn_core.training.device import Computing
from crossattn_core.training.epochs import EpochReport, TrainingHistory
from crossattn_core.training.examples import Examples
from crossattn_core.training.step import TrainingStep

__all__ = ["INFERENCE_BATCH", "ValidationOutput", "train"]

INFERENCE_BATCH = 64
"""Rows in one forward pass of a trained network: more do not fit the caches of a CPU and take longer."""

_STEPS_DECIDED = 64
"""Steps for which a network decides at once in which form it computes batches: asking for each would wait for the device."""


@dataclass(frozen=True)
class ValidationOutput:
    """Both parts of a network's raw output on the validation rows, in eval mode."""

    own_RNO: Tensor
    cross_RNO: Tensor


def train(
    network: Network,
    examples: Examples,
    settings: TrainingSettings,
    *,
    epochs: int,
    generator: torch.Generator,
    report: Callable[[EpochReport], None] = silent,
) -> tuple[TrainingHistory, ValidationOutput | None]:
    """Train ``network`` in place; afterwards it holds the weights of its best validation epoch, in eval mode.

    Returns:
        what happened, and the validation output of the network that is left; none where it was made on another device
        or in another precision than forecasts are, and has to be made again.

    Raises:
        TrainingError: a loss is not finite; epoch, batch and rows are named, or the epoch where it is that of validation.
    """
    computing = Computing.of(settings, examples.train_target_TNO.shape[1])
    network.to(computing.device)
    examples = examples.to(computing.device)
    row_R = torch.from_numpy(examples.split.train_R)
    passes = -(-settings.minimum_batches // -(-len(row_R) // settings.batch_size))
    batches = -(-passes * len(row_R) // settings.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameter_groups(settings.learning_rate, settings.attention_lr_multiplier, settings.weight_decay), fused=True
    )
    schedule = _schedule(optimiser, settings, epochs * batches)
    history = TrainingHistory()
    best_loss, best_weights = float("inf"), copy.deepcopy(network.state_dict())
    best_output: ValidationOutput | None = None
    eager = TrainingStep(network, examples, settings, computing)
    step = GraphedStep(eager, eager.parameters) if settings.cuda_graph else eager
    masks_GN = _distinct_masks(examples)
    # Adam moves a parameter by about its rate a step, at most: so far two logits can drift apart before the next decision.
    drift = 2 * settings.learning_rate * settings.attention_lr_multiplier * _STEPS_DECIDED

    def decide() -> None:
        if network.prepare(masks_GN, drift) and isinstance(step, GraphedStep):
            step.forget()

    for epoch in range(1, epochs + 1):
        if epoch - 1 - history.best_epoch >= settings.patience:
            break
        network.train()
        runs = [_shuffled_runs(row_R, settings.contiguous_rows, generator, step=examples.objective.step) for _ in range(passes)]
        order_R = torch.cat(runs)
        loss_K: list[Tensor] = []
        for batch in examples.batches(order_R, settings.batch_size, network.max_lag, padded=settings.cuda_graph):
            if len(loss_K) % _STEPS_DECIDED == 0:
                decide()
            with computing.explained():
                loss_K.append(step(batch))
            optimiser.step()
            if not isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                schedule.step()
        # Read once an epoch: reading a loss waits for the device.
        mean_loss = _mean_loss(torch.stack(loss_K).cpu().double(), order_R, epoch, settings)
        decide()
        with computing.products():
            output = validation_output(network, examples)
        validation_loss = loss_on_validation(output, examples)
        if not math.isfinite(validation_loss):
            raise TrainingError(
                f"validation loss {validation_loss} in epoch {epoch}: weights or forecasts are no numbers any more; lower "
                "training.learning_rate"
            )
        if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            schedule.step(validation_loss)
        history.training_loss.append(mean_loss)
        history.validation_loss.append(validation_loss)
        if validation_loss < best_loss:
            best_loss, history.best_epoch = validation_loss, epoch
            best_weights, best_output = copy.deepcopy(network.state_dict()), output
        rate = optimiser.param_groups[0]["lr"]
        report(EpochReport(epoch, epochs, history.training_loss[-1], validation_loss, rate, len(order_R)))
    network.load_state_dict(best_weights)
    network.prepare(None, 0.0)
    # Forecasts are made on the CPU, wherever the fit was.
    network.to("cpu").eval()
    return history, best_output if computing.device.type == "cpu" and not computing.bfloat16 else None


def _distinct_masks(examples: Examples) -> Tensor | None:
    """(G, N) which assets are readable at any row of the fit, each mask once; none where all always are."""
    row_R = torch.from_numpy(np.concatenate([examples.split.train_R, examples.split.validation_R]))
    masks = examples.windows.masks(row_R)
    return None if masks is None else masks.readable_ZM.to(examples.weight_T.device)


def _mean_loss(loss_K: Tensor, order_R: Tensor, epoch: int, settings: TrainingSettings) -> float:
    """The epoch's mean loss by row."""
    rows_K = order_R.split(settings.batch_size)
    wrong_K = (~torch.isfinite(loss_K)).nonzero()
    if len(wrong_K):
        batch = int(wrong_K[0])
        row_B = rows_K[batch]
        raise TrainingError(
            f"loss {float(loss_K[batch])} in epoch {epoch}, batch {batch + 1} of {len(rows_K)}, "
            f"rows {int(row_B.min())}..{int(row_B.max())}: "
            "look for infinite features there, or lower training.learning_rate"
        )
    return sum(float(loss) * len(row_B) for loss, row_B in zip(loss_K, rows_K, strict=True)) / len(order_R)


def validation_output(network: Network, examples: Examples) -> ValidationOutput:
    """Both parts on every validation row, in eval mode."""
    network.eval()
    windows, row_R = examples.windows, torch.from_numpy(examples.split.validation_R)
    own, cross = [], []
    with torch.no_grad():
        for batch in examples.batches(row_R, INFERENCE_BATCH, network.max_lag):
            own.append(own_part_at(network, windows, batch.row_B).float())
            cross.append(network.cross_part(windows.recent(batch.row_B, batch.recent)).float())
    return ValidationOutput(torch.cat(own), torch.cat(cross))


def loss_on_validation(output: ValidationOutput, examples: Examples) -> float:
    """The loss that chooses the epoch. Returns are calibrated first: the epoch is chosen by the forecast that will be given.

    Uncalibrated, a part that is right in direction but too large would end the fit before the leads are learnt. What is
    no regression has no size to calibrate.
    """
    objective, device = examples.objective, examples.weight_T.device
    row_R = torch.from_numpy(examples.split.validation_R).to(device)
    target_RNO, weight_R = examples.validation_target_TNO[row_R], examples.weight_T[row_R]
    if objective.settings.loss in ("mse", "huber"):
        own_RNO, cross_RNO = output.own_RNO.cpu().numpy(), output.cross_RNO.cpu().numpy()
        parts = Parts(own_RNO, cross_RNO, np.zeros_like(own_RNO))
        gain_PO = calibrate(parts, target_RNO.cpu().numpy(), weight_R.cpu().numpy(), examples.overlap_O)
        raw_RNO = torch.from_numpy(combine(parts, gain_PO)).to(device)
    else:
        raw_RNO = output.own_RNO + output.cross_RNO
    # Decisions that follow each other lie side by side.
    order_R = _chained(row_R, objective.step)
    rows = (raw_RNO[order_R], target_RNO[order_R], weight_R[order_R], row_R[order_R])
    return float(objective.loss(*rows, examples.windows.readable(row_R[order_R])))


def _shuffled_runs(row_R: Tensor, run: int, generator: torch.Generator, *, step: int = 1) -> Tensor:
    """The rows in a new order, ``run`` neighbours together: their windows share bars, so tokens are made once.

    Neighbours are ``step`` bars apart, so that each is the decision after the one before it.
    """
    row_R = row_R[_chained(row_R, step)]
    offset = int(torch.randint(0, run, (1,), generator=generator))
    runs = [row_R[:offset], *row_R[offset:].split(run)]
    return torch.cat([runs[i] for i in torch.randperm(len(runs), generator=generator)])


def _chained(row_R: Tensor, step: int) -> Tensor:
    """Places of the rows, chain after chain: within a chain each row lies ``step`` bars after the one before.

    >>> _chained(torch.arange(5), 2).tolist()
    [0, 2, 4, 1, 3]
    """
    return torch.arange(len(row_R), device=row_R.device) if step == 1 else torch.argsort(row_R % step, stable=True)


def _schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    match settings.schedule:
        case "one_cycle":
            peaks = [group["lr"] for group in optimiser.param_groups]
            return torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=peaks, total_steps=max(steps, 2))
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(steps, 1))
        case "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=1)
