"""A pool without workers: calls run in a shuffled order, and everything crosses a process boundary that is not there."""

import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Shared:
    """A stand-in for a value that was sent once."""

    def __init__(self, value: Any) -> None:
        self.value = pickle.dumps(value)


class PretendTask:
    def __init__(self, pool: "PretendPool", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.pool, self.function, self.arguments = pool, function, arguments
        self.held: bytes | None = None

    def run(self) -> None:
        if self.held is None:
            try:
                plain = [self.pool.arrived(argument) for argument in self.arguments]
                self.held = pickle.dumps((self.function(*plain), None))
            except Exception as error:
                self.held = pickle.dumps((None, error))

    def result(self) -> Any:
        self.pool.run_all()
        assert self.held is not None, "a task was asked for after it was cancelled"
        value, error = pickle.loads(self.held)  # noqa: S301  # made here
        if error is not None:
            raise error
        return value


class PretendPool:
    """Keeps every call that was submitted; ``cancelled`` are those that nobody asked for."""

    def __init__(self, seed: int = 0) -> None:
        self.submitted: list[PretendTask] = []
        self.cancelled: list[PretendTask] = []
        self.shared = 0
        self._waiting: list[PretendTask] = []
        self._random = random.Random(seed)

    def share(self, value: Any) -> Shared:
        self.shared += 1
        return Shared(value)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> PretendTask:
        task = PretendTask(self, pickle.loads(pickle.dumps(function)), arguments)  # noqa: S301
        self.submitted.append(task)
        self._waiting.append(task)
        return task

    def completed(self, tasks: Iterable[PretendTask]) -> Iterator[PretendTask]:
        self.run_all()
        yield from tasks

    def cancel(self, tasks: Iterable[PretendTask]) -> None:
        for task in tasks:
            self.cancelled.append(task)
            self._waiting = [waiting for waiting in self._waiting if waiting is not task]

    def run_all(self) -> None:
        self._random.shuffle(self._waiting)
        while self._waiting:
            self._waiting.pop().run()

    def arrived(self, argument: Any) -> Any:
        if isinstance(argument, PretendTask):
            argument.run()
            return argument.result()
        return pickle.loads(argument.value if isinstance(argument, Shared) else pickle.dumps(argument))  # noqa: S301
