"""A training step as one CUDA graph: its kernels are recorded once and launched together, so that a small network does not wait
for Python.

What a graph records is fixed: the same memory, the same sizes, no question to the device. So batches are padded to equally many
distinct bars and masks, and those of fewer rows are computed as without a graph. Batches in which every asset is readable have a
recording of their own, since they need less work. Sums over the rows that share a bar are gathered by a table (see
panel/windows.py): the deterministic kernel asks for the largest index, which cannot be recorded.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crossattn_core.errors import TrainingError
from crossattn_core.training.examples import Batch

__all__ = ["GraphedStep", "recorded"]

_WARM_UP = 3
"""Runs before the recording: libraries set themselves up in the first ones."""


def recorded(compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """What ``compute`` gives as a CUDA graph, and what makes it anew in the same memory.

    Raises:
        TrainingError: something in it cannot be recorded.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            compute()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            value = compute()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TrainingError(
            f"a training step of this network cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}); "
            "set training.cuda_graph to false"
        ) from error
    return value, graph.replay


class GraphedStep:
    """A training step, replayed where it can be."""

    def __init__(
        self,
        step: Callable[[Batch], Tensor],
        parameters: Sequence[nn.Parameter],
        record: Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]] = recorded,
    ) -> None:
        """``step`` leaves a batch's gradients on the parameters and gives its loss; ``record`` as ``recorded``."""
        self._step, self._parameters, self._record = step, parameters, record
        self._recordings: dict[bool, _Recording] = {}
        """By whether every asset is readable."""
        self._rows: int | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """The loss; gradients are on the parameters."""
        self._rows = self._rows or len(batch.row_B)
        if len(batch.row_B) != self._rows:
            return self._step(batch)
        key = batch.recent.all_readable
        if key not in self._recordings or not self._recordings[key].batch.is_like(batch):
            # The old one's memory goes before the new one's is taken.
            self._recordings.pop(key, None)
            self._recordings[key] = _Recording(batch, self._step, self._parameters, self._record)
        return self._recordings[key].replay(batch)

    def forget(self) -> None:
        """Record anew: the step computes in another form from now on."""
        self._recordings.clear()


class _Recording:
    """One recorded step, and the memory that it reads and writes."""

    def __init__(
        self,
        batch: Batch,
        step: Callable[[Batch], Tensor],
        parameters: Sequence[nn.Parameter],
        record: Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]],
    ) -> None:
        if batch.recent.holder_UR is None:
            raise ValueError("a step is recorded with padded batches (Examples.batches)")
        self.batch = batch.with_tables([table.clone() for table in batch.tables])
        self._parameters = parameters
        self._loss, self._replay = record(lambda: step(self.batch))
        self._gradients = [parameter.grad for parameter in parameters]

    def replay(self, batch: Batch) -> Tensor:
        for place, table in zip(self.batch.tables, batch.tables, strict=True):
            place.copy_(table)
        self._replay()
        # Another recording, or a batch that was computed without one, has left gradients of its own there.
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.clone()
