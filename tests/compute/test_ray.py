"""Ray as a pool, on a real cluster: the same bits and errors, through the death of workers and nodes; nothing is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from crossattn_core.compute.pool import Pool, open_pool
from crossattn_core.compute.ray_pool import RayPool
from crossattn_core.errors import ComputeError, TrainingError
from crossattn_core.experiment import ComputeSettings
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.home import Home
from crossattn_core.tuning.search import search
from crossattn_core.walk_forward.walk import DayResult, walk
from tests.compute import fits
from tests.tuning.test_search import PANEL as TUNING_PANEL
from tests.tuning.test_search import experiment as tuning_experiment
from tests.walk_forward.fakes import FIRST_DAY, fake_load, rolling_experiment, synthetic_panel

pytestmark = pytest.mark.slow

DAYS = 42
PANEL = synthetic_panel(DAYS, leads=((0, 1, 2, 0.5),))
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
ROOT = Path(__file__).parents[2]


def walked(folder: Path, pool: Pool | None, fit: Any, load: Any = fake_load, **retrain: Any) -> list[DayResult]:
    experiment = rolling_experiment(on_degraded=False, **retrain)
    return list(walk(Home(folder), experiment, PANEL, FIRST_DAY, LAST, fit=fit, load=load, pool=pool))


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[Pool]:
    with open_pool(ComputeSettings(engine="ray", address=cluster.address)) as on_ray:
        assert on_ray is not None
        yield on_ray


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("alone")
    walked(folder, None, fits.fit_fake)
    return stored(folder)


def test_cold_retrains_of_networks_and_ensembles_have_the_ids_and_weights_of_those_made_here(pool: Pool, tmp_path: Path) -> None:
    knobs = {"cold_every": 1, "seeds": 2, "every_days": 10}
    walked(tmp_path / "alone", None, fit_model, load_model, **knobs)
    walked(tmp_path / "together", pool, fit_model, load_model, **knobs)
    assert len(list((tmp_path / "alone" / "models").iterdir())) == 3 * 4
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")


def test_warm_retrains_start_from_what_their_predecessors_came_to(pool: Pool, tmp_path: Path, alone: dict[str, bytes]) -> None:
    walked(tmp_path, pool, fits.fit_fake)
    assert stored(tmp_path) == alone


def test_a_worker_that_dies_in_the_middle_changes_nothing(pool: Pool, tmp_path: Path, alone: dict[str, bytes]) -> None:
    (tmp_path / "marks").mkdir()
    walked(tmp_path / "home", pool, partial(fits.fit_where_a_worker_dies, tmp_path / "marks"))
    assert len(list((tmp_path / "marks").iterdir())) == 4
    assert stored(tmp_path / "home") == alone


def test_a_node_that_dies_in_the_middle_changes_nothing(
    cluster: Any, pool: Pool, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    node, marks = cluster.add_node(num_cpus=1), tmp_path / "marks"
    marks.mkdir()
    killed: list[bool] = []

    def kill_once_it_works() -> None:
        until = time.monotonic() + 300
        while not (marks / node.node_id).exists():
            if time.monotonic() > until:
                return
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        killed.append(True)

    killer = threading.Thread(target=kill_once_it_works)
    killer.start()
    walked(tmp_path / "home", pool, partial(fits.fit_slowly, marks))
    killer.join()
    assert killed
    assert stored(tmp_path / "home") == alone


@pytest.mark.parametrize("error", [TrainingError("7 rows; give the model more history"), KeyError("ridge"), ValueError("a", 3)])
def test_an_error_in_a_worker_comes_out_as_it_was_raised_with_the_workers_traceback_as_its_cause(
    pool: Pool, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        pool.submit(fits.raised, type(error), *error.args).result()
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert "in raised" in str(caught.value.__cause__)


def test_a_fit_that_fails_on_ray_leaves_the_plan_that_it_leaves_here(pool: Pool, tmp_path: Path) -> None:
    walked(tmp_path / "alone", None, fits.fit_failing)
    results = walked(tmp_path / "together", pool, fits.fit_failing)
    assert any("loss is not finite" in row["health"] for result in results for row in result.rows)
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")


def test_work_that_is_lost_for_good_says_what_to_turn(cluster: Any, pool: Pool) -> None:
    from crossattn_core.compute.ray_pool import RayPool

    never_again = RayPool(ComputeSettings(engine="ray", address=cluster.address, retries=0))
    with pytest.raises(ComputeError, match=r"lost a call after 0 retries .*compute\.retries"):
        never_again.submit(fits.dying).result()


def test_a_worker_has_the_threads_of_the_process_that_asks_or_those_of_the_settings(cluster: Any, pool: Pool) -> None:
    from crossattn_core.compute.ray_pool import RayPool, own_threads

    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    assert pool.submit(fits.environment, *names).result() == dict.fromkeys(names, str(own_threads()))
    three = RayPool(ComputeSettings(engine="ray", address=cluster.address, threads=3))
    assert three.submit(fits.environment, *names).result() == dict.fromkeys(names, "3")


def test_a_search_on_ray_has_the_trials_of_one_here(pool: Pool, tmp_path: Path) -> None:
    asked = tuning_experiment(trials=14)
    here = search(Home(tmp_path / "here"), asked, TUNING_PANEL)
    assert search(Home(tmp_path / "there"), asked, TUNING_PANEL, pool=pool).trials == here.trials


def test_a_cluster_that_does_not_answer_is_named() -> None:
    script = (
        "from crossattn_core.compute.ray_pool import RayPool\n"
        "from crossattn_core.experiment import ComputeSettings\n"
        "RayPool(ComputeSettings(engine='ray', address='127.0.0.1:1')).share(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=_environment(), timeout=300
    )
    assert "ComputeError: no Ray cluster answers at 127.0.0.1:1" in done.stderr


_DRIVER = """
import sys
from crossattn_core.compute.ray_pool import RayPool
from crossattn_core.experiment import ComputeSettings
from tests.compute.fits import sleep

pool = RayPool(ComputeSettings(engine="ray", local_cpus=2))
assert pool.submit(sleep, 0).result() == 0
tasks = [pool.submit(sleep, 600) for _ in range(4)]
print("SESSION", pool._cluster.session, flush=True)
{ending}
"""


@pytest.mark.parametrize("ending", ["killed", "closed"])
def test_a_cluster_of_its_own_listens_on_loopback_alone_and_is_gone_with_its_driver(ending: str) -> None:
    script = _DRIVER.format(ending="sys.stdin.read()" if ending == "killed" else "sys.stdin.readline(); pool.close()")
    driver = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=_environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert driver.stdout is not None
        line = next((line for line in driver.stdout if line.startswith("SESSION")), "")
        assert line, "the driver ended before it had a cluster"
        session = int(line.split()[1])
        held = _processes_of(session)
        assert len(held) >= 5  # the one that holds it, gcs, raylet, agents, workers
        folders = _folders(held)
        assert len(folders) == 1
        listening = set()
        for process in held:
            with contextlib.suppress(psutil.NoSuchProcess):  # a worker that was idle may have ended
                connections = process.net_connections(kind="inet")
                listening |= {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
        assert listening
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        if ending == "killed":
            driver.send_signal(signal.SIGKILL)
        else:
            driver.communicate("\n", timeout=300)
        until = time.monotonic() + 180
        while (left := _processes_of(session)) and time.monotonic() < until:
            time.sleep(0.2)
        assert not left
        assert not any(folder.exists() for folder in folders)
    finally:
        driver.kill()
        driver.communicate()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _folders(processes: list[psutil.Process]) -> set[Path]:
    """The folder of the cluster of these processes, of all that there are on the machine: its raylet is told of it."""
    found: set[Path] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            said = " ".join(process.cmdline())
            found |= {folder for folder in Path("/tmp").glob("crossattn-ray-*") if f"{folder}/" in said}
    return found


def _processes_of(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_fits_of_a_quarter_gpu_run_four_at_once_and_all_see_the_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("shared_gpu.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.stdout.strip().endswith("['0', '0', '0', '0']"), done.stdout + done.stderr


def test_a_gpu_that_this_machine_lacks_is_refused_before_a_fit_waits_for_it() -> None:
    with (
        pytest.raises(ComputeError, match=r"compute\.gpus is 8192 and Ray finds .* no fit could begin"),
        contextlib.closing(RayPool(ComputeSettings(engine="ray", local_cpus=1).model_copy(update={"gpus": 8192.0}))) as pool,
    ):
        pool.submit(os.getpid)
