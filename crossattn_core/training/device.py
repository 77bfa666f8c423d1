"""Where a fit runs, and in what precision its matrix products are made."""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from crossattn_core.errors import TrainingError
from crossattn_core.experiment import TrainingSettings

__all__ = ["Computing", "explained_memory", "own_settings", "threads"]

_ASSETS_FOR_BFLOAT16 = 300
"""Below, kernels on a GPU are so short that casting costs more than it saves (1.2 to 1.9 times as long, measured)."""

_KEPT_BLOCK, _KEPT_FREE = 32 << 20, 256 << 20
"""Bytes: blocks up to the first are reused, not mapped anew; so much free memory stays before any is given back."""


@dataclass(frozen=True)
class Computing:
    """One device and one precision of products; weights, optimiser and losses are float32 everywhere."""

    device: torch.device
    bfloat16: bool

    @classmethod
    def of(cls, settings: TrainingSettings, assets: int) -> "Computing":
        """What ``training.device`` and ``training.precision`` come to on this machine.

        bfloat16 pays on a GPU with a wide universe; on CPUs it was measured several times slower, so 'auto' keeps float32 there.

        Raises:
            TrainingError: cuda or a graph of it is requested and there is none.
        """
        found = torch.cuda.is_available()
        if settings.device == "cuda" and not found:
            raise TrainingError(
                "training.device is 'cuda' and torch sees no GPU; set it to 'auto' or 'cpu', or install a torch built for CUDA"
            )
        if settings.cuda_graph and (settings.device == "cpu" or not found):
            raise TrainingError(
                f"training.cuda_graph records kernels of a GPU, and training.device {settings.device!r} comes to the CPU here; "
                "set cuda_graph to false, or device to 'cuda' on a machine that has one"
            )
        device = torch.device("cuda" if settings.device != "cpu" and found else "cpu")
        is_wide = device.type == "cuda" and assets >= _ASSETS_FOR_BFLOAT16
        return cls(device, settings.precision == "bfloat16" or (settings.precision == "auto" and is_wide))

    @property
    def record(self) -> dict[str, str]:
        """What a manifest keeps of it: where and how the fit was computed."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "torch": torch.__version__,
        }

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, torch draws from ``seed`` and gives the same bits for the same request; the caller's state comes back.

        On a GPU the backward pass of indexing adds up in any order unless deterministic kernels are asked for.
        """
        is_cuda = self.device.type == "cuda"
        before = torch.are_deterministic_algorithms_enabled()
        only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if is_cuda else []):
            # Not `torch.manual_seed`, which seeds every GPU: only what was put aside comes back.
            torch.default_generator.manual_seed(seed)
            if is_cuda:
                torch.cuda.manual_seed(seed)
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                torch.use_deterministic_algorithms(True)
            try:
                yield
            finally:
                torch.use_deterministic_algorithms(before, warn_only=only_warned)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What the device cannot compute in the chosen precision as a ``TrainingError`` that says what to turn."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self.bfloat16 and self.device.type == "cpu":
                raise TrainingError(
                    f"this CPU's torch cannot compute the network in bfloat16 ({str(error).splitlines()[0]}); set "
                    "training.precision to 'float32' or 'auto'"
                ) from error
            raise

    def products(self) -> contextlib.AbstractContextManager[object]:
        """Inside, matrix products are made in the chosen precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()


@contextlib.contextmanager
def explained_memory(batch_size: int, assets: int) -> Iterator[None]:
    """Memory that a device or the host has not left as a ``TrainingError`` that says what to turn."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On the host torch's own error is a plain one.
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"the device ran out of memory at training.batch_size {batch_size} with {assets} assets; lower batch_size, "
            "model.width or model.max_lag, take cross_attention 'factorised', set training.device to 'cpu', or, where fits "
            "share a GPU, raise compute.gpus"
        ) from error


@contextlib.contextmanager
def own_settings(count: int) -> Iterator[None]:
    """As ``threads``, in single precision, with gradients and without autocast, whatever the caller has set; his settings
    come back."""
    before = torch.get_default_dtype()
    off = (torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda"))
    with threads(count), torch.inference_mode(False), torch.enable_grad(), contextlib.ExitStack() as stack:
        for context in off:
            stack.enter_context(context)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


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
