"""A training step as one CUDA graph: its kernels are recorded once and launched together, so that a small network does not wait
for Python.

What a graph records is fixed: the same memory, the same sizes, no question to the device. So batches are padded to equally many
distinct bars, and those of another size, or in which an asset is unreadable, are computed as without a graph. Sums over the rows
that share a bar are gathered by a table (see panel/windows.py): the deterministic kernel sorts, which cannot be recorded.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crossattn_core.errors import TrainingError
from crossattn_core.panel.windows import RecentPlaces
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
        self._recording: _Recording | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """The loss; gradients are on the parameters."""
        recording = self._recording
        is_other_size = recording is not None and len(batch.row_B) != len(recording.batch.row_B)
        if is_other_size or not batch.recent.all_readable:
            return self._step(batch)
        if recording is None or not recording.has_room_for(batch):
            # The old one's memory goes before the new one's is taken.
            self._recording = recording = None
            self._recording = recording = _Recording(batch, self._step, self._parameters, self._record)
        return recording.replay(batch)


class _Recording:
    """One recorded step, and the memory that it reads and writes."""

    def __init__(
        self,
        batch: Batch,
        step: Callable[[Batch], Tensor],
        parameters: Sequence[nn.Parameter],
        record: Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]],
    ) -> None:
        row_B, bar_U, place_BL, holder_UR = (table.clone() for table in _tables(batch))
        self.batch = Batch(row_B, RecentPlaces(bar_U, place_BL, all_readable=True, holder_UR=holder_UR))
        self._parameters = parameters
        self._loss, self._replay = record(lambda: step(self.batch))
        self._gradients = [parameter.grad for parameter in parameters]

    def has_room_for(self, batch: Batch) -> bool:
        return [table.shape for table in _tables(batch)] == [table.shape for table in _tables(self.batch)]

    def replay(self, batch: Batch) -> Tensor:
        for place, table in zip(_tables(self.batch), _tables(batch), strict=True):
            place.copy_(table)
        self._replay()
        # A batch that was computed without the graph has left gradients of its own there.
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.clone()


def _tables(batch: Batch) -> list[Tensor]:
    places = batch.recent
    if places.holder_UR is None:
        raise ValueError("a step is recorded with padded batches (Examples.batches)")
    return [batch.row_B, places.bar_U, places.place_BL, places.holder_UR]
