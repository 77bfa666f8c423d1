"""What a fit reports of each epoch, and what it remembers of them all."""

from dataclasses import dataclass, field

__all__ = ["EpochReport", "TrainingHistory"]


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a fit, as it ends."""

    epoch: int
    """From 1."""
    epochs: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    rows: int
    """Decision rows in an epoch."""


@dataclass
class TrainingHistory:
    """What happened, epoch by epoch."""

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    """From 1; 0 means that the start was never beaten."""
