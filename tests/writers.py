"""Several processes that write to one home at once, and one that is killed while it does."""

import multiprocessing
import time
from collections.abc import Callable
from datetime import date
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from crossattn_core.home import Home
from crossattn_core.tuning.ledger import Trial, record_trial
from crossattn_core.walk_forward.overrides import Override, record_override

__all__ = ["kill_while_writing", "record_overrides", "record_trials", "write_at_once"]

_SECONDS = 60


def record_overrides(root: Path, name: str, count: int) -> None:
    """Record ``count`` overrides of the writer ``name``."""
    for number in range(count):
        record_override(Home(root), Override(date(2025, 1, 1), "forced", f"{name} {number}"))


def record_trials(root: Path, name: str, count: int) -> None:
    """Record ``count`` trials of the writer ``name``."""
    for number in range(count):
        record_trial(Home(root), Trial(name, number, "ridge", {"training.seed": number}, 0.5))


def write_at_once(record: Callable[[Path, str, int], None], root: Path, count: int) -> None:
    """Let two processes record ``count`` each, and wait for both."""
    writers = [_processes().Process(target=record, args=(root, name, count)) for name in ("first", "second")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(_SECONDS)
    assert [writer.exitcode for writer in writers] == [0, 0]


def kill_while_writing(record: Callable[[Path, str, int], None], root: Path, path: Path) -> None:
    """Kill a process in the middle of recording, once ``path`` has grown by it."""
    writer = _processes().Process(target=record, args=(root, "killed", 100_000))
    writer.start()
    deadline = time.monotonic() + _SECONDS
    while (not path.is_file() or path.stat().st_size < 2_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    writer.kill()
    writer.join(_SECONDS)
    assert path.stat().st_size >= 2_000


@cache
def _processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
