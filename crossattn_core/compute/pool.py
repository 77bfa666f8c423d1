"""What an engine offers to code that has many independent calls to make."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Protocol

from crossattn_core.errors import ComputeError
from crossattn_core.experiment import ComputeSettings

__all__ = ["Pool", "Task", "open_pool"]


class Task(Protocol):
    """One call that was submitted."""

    def result(self) -> Any:
        """What the function returned; waits for it.

        Raises:
            Exception: what the function raised, of the same class and text; the worker's traceback is its cause.
            ComputeError: the engine lost the call more often than it may be begun again.
        """
        ...


class Pool(Protocol):
    """Workers that run pure, picklable functions in any order. Nothing is started before the first use."""

    def share(self, value: Any) -> Any:
        """A stand-in for ``value``, sent once however many calls read it; a call that is given it gets the value, read-only."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Call ``function`` some time. Arguments that are stand-ins or tasks of this pool arrive as what they stand for."""
        ...

    def completed(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """The tasks, each as it ends."""
        ...

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Drop what nobody will ask for."""
        ...


@contextlib.contextmanager
def open_pool(settings: ComputeSettings) -> Iterator[Pool | None]:
    """The pool that ``compute.engine`` names, for the length of a block; none: everything is computed in this process.

    Raises:
        ComputeError: the engine is not installed.
    """
    if settings.engine == "in_process":
        yield None
        return
    if find_spec("ray") is None:
        raise ComputeError(
            "compute.engine is 'ray', which is not installed: install crossattn[ray], or set compute.engine to 'in_process'"
        )
    # Ray is imported by whoever uses it alone.
    from crossattn_core.compute.ray_pool import RayPool

    with contextlib.closing(RayPool(settings)) as pool:
        yield pool
