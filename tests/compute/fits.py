"""Fits that are found by name in a worker, some of which end its process, its node or the fit itself."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from crossattn_core.errors import TrainingError
from crossattn_core.families.fitted import FitRequest
from tests.walk_forward.fakes import FakeFit, FakeModel


def fit_fake(family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """As ``FakeFit``."""
    return FakeFit()(family, request, experiment, report=report)


def fit_where_a_worker_dies(folder: Path, family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """The first fits of one family kill their worker, each once."""
    mark = folder / f"died {family} {request.cut_off}"
    if family == "attention" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_fake(family, request, experiment, report=report)


def fit_slowly(folder: Path, family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """Says on which node it runs, then takes a while."""
    import ray

    (folder / ray.get_runtime_context().get_node_id()).touch()
    time.sleep(0.7)
    return fit_fake(family, request, experiment, report=report)


def fit_failing(family: str, request: FitRequest, experiment: Any, *, report: Any) -> FakeModel:
    """One family's second fit does not come to an end."""
    if family == "attention" and request.cut_off // 24 == 26:
        raise TrainingError(f"batch 7 of {request.cut_off}: loss is not finite; lower training.learning_rate")
    return fit_fake(family, request, experiment, report=report)


def raised(kind: type[Exception], *arguments: Any) -> None:
    """Raise an error of this class."""
    raise kind(*arguments)


def environment(*names: str) -> dict[str, str | None]:
    """Variables of the worker."""
    return {name: os.environ.get(name) for name in names}


def sleep(seconds: float) -> float:
    """For a driver that is killed meanwhile."""
    time.sleep(seconds)
    return seconds


def dying() -> None:
    """Ends its worker whenever it is called."""
    os.kill(os.getpid(), signal.SIGKILL)
