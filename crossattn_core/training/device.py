"""Where a fit runs, and in what precision its matrix products are made."""

import contextlib
from dataclasses import dataclass

import torch

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings

__all__ = ["Computing"]


@dataclass(frozen=True)
class Computing:
    """One device and one precision of products; weights, optimiser and losses are float32 everywhere."""

    device: torch.device
    bfloat16: bool

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Computing":
        """What ``training.device`` and ``training.precision`` come to on this machine.

        bfloat16 pays on a GPU; on CPUs it was measured several times slower, so 'auto' keeps float32 there.

        Raises:
            TrainingError: cuda is asked for and there is none.
        """
        found = torch.cuda.is_available()
        if settings.device == "cuda" and not found:
            raise TrainingError(
                "training.device is 'cuda' and torch sees no GPU; set it to 'auto' or 'cpu', or install a torch built for CUDA"
            )
        device = torch.device("cuda" if settings.device != "cpu" and found else "cpu")
        return cls(device, settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda"))

    def products(self) -> contextlib.AbstractContextManager[object]:
        """Inside, matrix products are made in the chosen precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()
