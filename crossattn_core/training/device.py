"""Where a fit runs, and in what precision its matrix products are made."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings

__all__ = ["Computing", "threads"]

_KEPT_BLOCK, _KEPT_FREE = 32 << 20, 256 << 20
"""Bytes: blocks up to the first are reused, not mapped anew; so much free memory stays before any is given back."""


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
            TrainingError: cuda is requested and there is none.
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


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on ``count`` threads (0: as it is) and put the old number back."""
    _keep_freed_memory()
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _keep_freed_memory() -> None:
    """Have glibc reuse the tensors of the last batch: given back and mapped anew, they cost a third of a training step.

    Other C libraries have no ``mallopt`` and are left as they are. Decision 33.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-3, _KEPT_BLOCK)  # M_MMAP_THRESHOLD of malloc.h
        mallopt(-1, _KEPT_FREE)  # M_TRIM_THRESHOLD
