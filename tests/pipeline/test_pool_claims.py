"""A pool is held by as many as its limit says, whatever the order in which processes ask for it."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from tests.forks import forked
from tests.pipeline.event_log_graph import instance_at
from tests.pipeline.pool_race import POOL, claim_at_once

pytestmark = pytest.mark.usefixtures("in_batches")
PROCESSES, TURNS = 3, 15


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An instance whose pools have one slot."""
    folder = tmp_path / "instance"
    with instance_at(folder, "batched"), (folder / "dagster.yaml").open("a") as settings:
        settings.write("\nconcurrency: {pools: {default_limit: 1, granularity: op}}\n")
    return folder


def _opened(folder: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(folder))


def test_of_two_that_claim_a_new_pool_at_once_one_holds_it_and_the_other_waits(folder: Path) -> None:
    with _opened(folder) as first, _opened(folder) as second:
        (holder,) = claim_at_once(first, second)
        state = first.event_log_storage.get_concurrency_info(POOL)
        assert (state.slot_count, state.active_run_ids, state.assigned_step_count) == (1, {holder}, 1)
        first.event_log_storage.free_concurrency_slots_for_run(holder)
        waiting = "two" if holder == "one" else "one"
        assert second.event_log_storage.claim_concurrency_slot(POOL, waiting, "step").is_claimed


def take_turns(folder: Path, run: str) -> None:
    """Hold the pool TURNS times; nobody else may be inside."""
    inside = folder / "inside"
    with _opened(folder) as instance:
        log = instance.event_log_storage
        log.initialize_concurrency_limit_to_default(POOL)
        for turn in range(TURNS):
            deadline = time.monotonic() + 60
            while not log.claim_concurrency_slot(POOL, run, f"step {turn}").is_claimed:
                assert time.monotonic() < deadline, f"run {run} was never given turn {turn}"
                time.sleep(0.001)
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            time.sleep(0.002)
            inside.unlink()
            log.free_concurrency_slot_for_step(run, f"step {turn}")


@pytest.mark.slow
def test_processes_take_turns_and_each_is_given_all_of_its_turns(folder: Path) -> None:
    with ThreadPoolExecutor(PROCESSES) as pool:
        asked = [pool.submit(forked, take_turns, folder, run, environment=dict(os.environ)) for run in "abc"]
    ended = [done.result() for done in asked]
    assert [done.returncode for done in ended] == [0] * PROCESSES, "\n".join(done.stderr for done in ended)
    with _opened(folder) as instance:
        state = instance.event_log_storage.get_concurrency_info(POOL)
    assert (state.slot_count, state.active_slot_count, list(state.pending_steps)) == (1, 0, [])
