"""Ray Core as a pool: each call is a task with its resources, begun again where its worker or node died.

driver                                   worker
share(panel)   -> one copy a node
submit(fit, panel, experiment, ...)  ->  the same code and packages? the same threads? then fit(...)
result()       <- the value, or what was raised
"""

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, cast

from crossattn_core.compute.installed import check_installed, installed
from crossattn_core.compute.local_cluster import LocalCluster, prepare_loopback
from crossattn_core.compute.pool import Task
from crossattn_core.errors import ComputeError
from crossattn_core.experiment import ComputeSettings

__all__ = ["RayPool", "RayTask", "WorkerTracebackError", "own_threads"]

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that size the pools of threads of linear algebra, the strongest first."""


_SECONDS_TO_ANSWER = 10

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class WorkerTracebackError(Exception):
    """Where in a worker an error was raised: the cause of that error as it is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class RayTask:
    """One call on Ray."""

    def __init__(self, pool: "RayPool", reference: Any) -> None:
        self.pool, self.reference = pool, reference

    def result(self) -> Any:
        """See ``pool.Task.result``."""
        ray = self.pool.ray
        try:
            return ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from WorkerTracebackError(_COLOURS.sub("", str(error)))
        except ray.exceptions.RayError as error:
            raise ComputeError(
                f"Ray lost a call after {self.pool.settings.retries} retries ({type(error).__name__}: {_first_line(error)}); "
                "look at the cluster, raise compute.retries or compute.memory_gib, or set compute.engine to 'in_process'"
            ) from error


class RayPool:
    """Workers of one Ray cluster. It is reached, or started, when it is first used; ``close`` leaves what it did not start."""

    def __init__(self, settings: ComputeSettings) -> None:
        self.settings = settings
        self._cluster: LocalCluster | None = None
        self._is_connected_here = False

    @cached_property
    def ray(self) -> Any:
        """The module, connected to the cluster.

        Raises:
            ComputeError: the cluster cannot be reached or started.
        """
        if self.settings.address is None:
            held = sys.modules.get("ray")
            if held is None or not held.is_initialized():
                prepare_loopback()
        import ray

        if not ray.is_initialized():
            address = self.settings.address
            if address is None:
                self._cluster = LocalCluster.start(self.settings.local_cpus or _cpus())
                address = self._cluster.address
            try:
                _reach(address)
                ray.init(address=address, configure_logging=False, log_to_driver=False)
            except (OSError, RuntimeError, ValueError) as error:
                self.close()
                raise ComputeError(
                    f"no Ray cluster answers at {address} ({_first_line(error)}); start one, correct compute.address, or leave "
                    "it out for a cluster on this machine"
                ) from error
            self._is_connected_here = True
        self._check_gpus(ray)
        return ray

    def _check_gpus(self, ray: Any) -> None:
        """A cluster of this machine gets no node more: what asks for a GPU that is not there would wait for ever."""
        found, asked = ray.cluster_resources().get("GPU", 0), self.settings.gpus
        if self.settings.address is None and found < asked:
            if self._is_connected_here:
                ray.shutdown()
                self._is_connected_here = False
            self.close()
            raise ComputeError(
                f"compute.gpus is {asked:g} and Ray finds {found:g} GPUs on this machine: no fit could begin; set compute.gpus "
                "to 0 and training.device to 'cpu', or name a cluster that has some in compute.address"
            )

    def share(self, value: Any) -> Any:
        """See ``pool.Pool.share``."""
        return self.ray.put(value)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> RayTask:
        """See ``pool.Pool.submit``."""
        plain = [argument.reference if isinstance(argument, RayTask) else argument for argument in arguments]
        return RayTask(self, self._remote.remote(installed(), function, *plain))

    def completed(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """See ``pool.Pool.completed``."""
        waiting = {task.reference: task for task in cast("Iterable[RayTask]", tasks)}
        while waiting:
            for reference in self.ray.wait(list(waiting), num_returns=1)[0]:
                yield waiting.pop(reference)

    def cancel(self, tasks: Iterable[Task]) -> None:
        """See ``pool.Pool.cancel``."""
        for task in cast("Iterable[RayTask]", tasks):
            self.ray.cancel(task.reference, force=True)

    def close(self) -> None:
        """Leave the cluster; end it where it was started here."""
        if self._is_connected_here:
            self.ray.shutdown()
            self._is_connected_here = False
        if self._cluster is not None:
            self._cluster.stop()
            self._cluster = None
        self.__dict__.pop("ray", None)
        self.__dict__.pop("_remote", None)

    @cached_property
    def _remote(self) -> Any:
        settings, threads = self.settings, str(self.settings.threads or own_threads())
        return self.ray.remote(_call).options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            memory=None if settings.memory_gib is None else int(settings.memory_gib * 2**30),
            max_retries=settings.retries,
            runtime_env={"env_vars": dict.fromkeys(_THREADS, threads)},
        )


def own_threads() -> int:
    """Threads that linear algebra takes in this process: as its variables say, else one a CPU."""
    for name in _THREADS:
        if os.environ.get(name, "").isdigit() and int(os.environ[name]):
            return int(os.environ[name])
    return _cpus()


def _reach(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()


def _cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs in the worker."""
    check_installed(expected)
    return function(*arguments)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
